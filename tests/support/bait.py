"""Texts that would run as HTML, and result folders full of them."""
import html.parser
import json

from markdown_it import MarkdownIt

SCRIPT = "<script>alert(1)</script>"

QUOTE = "\"'><img src=x onerror=alert(1)>"

CLOSE = "</pre></title></style><script>alert(1)</script>"


class Page(html.parser.HTMLParser):
    """The tags of a page with their attributes, and its text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data

    def check(self, scripts, *words):
        """Assert that there are no scripts but our own, and that ``words`` are shown as text."""
        assert sum(tag == "script" for tag, _ in self.tags) == scripts
        for tag, attributes in self.tags:
            assert "onerror" not in attributes and "src" not in attributes or attributes["src"].startswith("data:"), tag
            assert not attributes.get("href", "").lower().startswith("javascript:")
        for word in words:
            assert word in self.text


def put(folder, **change):
    folder.mkdir(parents=True)
    (folder / "log.txt").write_text(f"epoch [1/1] batch [1/1] time 0 (0) loss 1.0 (1.0) lr 1e-3\n{CLOSE}\n{QUOTE}\n")
    (folder / "result.json").write_text(json.dumps({
        "trainer": SCRIPT, "dataset": "Digits", "classes": "all", "shots": 1, "seed": 1, "backbone": QUOTE,
        "seconds": 1.0, "identity": {"dataset": "0" * 32, "weights": "1" * 32},
        "results": {"test": {"accuracy": 50.0, "per_class": {CLOSE: {"correct": 1, "total": 2}}}},
        "config": f"OUTPUT_DIR: {QUOTE!r}\n# {CLOSE}", "command": ["x"], "git": SCRIPT, "versions": {"python": CLOSE},
        **change}))


def in_markdown(text):
    """Return the text that GitHub shows of Markdown with one table; there is nothing in it but the table."""
    shown = MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(text)
    tags = {"p", "strong", "table", "thead", "tbody", "tr", "th", "td"}
    assert {tag for tag, _ in Page(shown).tags} <= tags and shown.count("<table>") == 1
    assert shown.rstrip().endswith("</table>")
    return Page(shown).text
