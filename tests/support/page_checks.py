"""What every page must be on any screen: nothing beyond its edge, no text that is hard to read, tables that sort."""

# Elements beyond the window's left or right edge that no scrollable element holds, and the document if it scrolls.
OFF_SCREEN = """(() => {
  const scrolls = e => ["auto", "scroll"].includes(getComputedStyle(e).overflowX);
  const held = e => { for (e = e.parentElement; e; e = e.parentElement) if (scrolls(e)) return true; return false; };
  const found = [...document.body.querySelectorAll("*")].filter(e => {
    const r = e.getBoundingClientRect();
    return r.width && e.checkVisibility() && (r.right > innerWidth + 1 || r.left < -1) && !held(e);
  }).map(e => `${e.tagName}.${e.className}: ${e.textContent.trim().slice(0, 40)}`);
  if (document.documentElement.scrollWidth > innerWidth) found.push("the document scrolls sideways");
  return found;
})()"""

# Texts whose colour has less than LEAST:1 of contrast to what lies behind, by WCAG 2's formula, with that contrast.
LOW_CONTRAST = """(least => {
  const context = Object.assign(document.createElement("canvas"), {width: 1, height: 1})
    .getContext("2d", {willReadFrequently: true});
  const known = {};
  const rgba = colour => known[colour] ??= (() => {
    context.clearRect(0, 0, 1, 1); context.fillStyle = colour; context.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = context.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  })();
  const over = (top, below) => [0, 1, 2].map(n => top[n] * top[3] + below[n] * (1 - top[3]));
  const light = rgb => rgb.map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, n) => sum + v * [0.2126, 0.7152, 0.0722][n], 0);
  const behind = e => {
    const chain = [];
    for (; e; e = e.parentElement) chain.unshift(rgba(getComputedStyle(e).backgroundColor));
    return chain.reduce((below, top) => over(top, below), rgba("Canvas").slice(0, 3));
  };
  const opacity = e => { let all = 1; for (; e; e = e.parentElement) all *= getComputedStyle(e).opacity; return all; };
  const contrast = (e, colour, alpha = 1) => {
    const ground = behind(e), [r, g, b, a] = rgba(colour);
    const [low, high] = [light(over([r, g, b, a * alpha * opacity(e)], ground)), light(ground)].sort((x, y) => x - y);
    return (high + 0.05) / (low + 0.05);
  };
  const found = [], seen = new Set(), texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const note = (text, value) => value < least && found.push(`${value.toFixed(2)} ${text.slice(0, 40)}`);
  while (texts.nextNode()) {
    const e = texts.currentNode.parentElement, text = texts.currentNode.textContent.trim();
    if (!text || seen.has(e) || ["SCRIPT", "STYLE"].includes(e.tagName) || !e.checkVisibility()) continue;
    seen.add(e);
    note(text, contrast(e, getComputedStyle(e).color));
  }
  for (const e of document.querySelectorAll("[placeholder]")) {
    const style = getComputedStyle(e, "::placeholder");
    note(e.placeholder, contrast(e, style.color, +style.opacity));
  }
  return [found, seen.size];
})(LEAST)"""


def off_screen(page) -> list[str]:
    """Return what lies beyond the window's edge, where no scrollable element holds it."""
    return page.evaluate(OFF_SCREEN)


def low_contrast(page, least: float = 4.5) -> list[str]:
    """Return the texts of less contrast than this to what lies behind them."""
    found, seen = page.evaluate(LOW_CONTRAST.replace("LEAST", str(least)))
    assert seen, "the page has no text"
    return found


def sorted_by(page, table: int, column: int) -> tuple[list[str], list[str]]:
    """Return the entries of a table's column after one click on its head and after a second; indices start at 0."""
    cells = (f"[...document.querySelectorAll('table')[{table}].tBodies[0].rows]"
             f".map(row => row.cells[{column}].dataset.value ?? row.cells[{column}].textContent)")
    page.evaluate(f"document.querySelectorAll('table').forEach((t, n) => t.id = n === {table} ? 'sorted' : '')")
    found = []
    for _ in range(2):
        page.click(f"#sorted th:nth-child({column + 1}) button")
        found.append(page.evaluate(cells))
    return found[0], found[1]
