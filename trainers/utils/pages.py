"""Self-contained HTML pages from jinja2 templates: everything autoescaped, one look, light and dark."""
from typing import Any


def render(package: str, template: str, **values: Any) -> str:
    """Render a template of a package; it may extend ``page.html`` and import ``tables.html``, which lie here.

    Args:
        package: dotted name of the package beside whose modules the template lies: a caller's ``__package__``.
        values: what the template names; ``page.html`` needs ``title``.

    Raises:
        jinja2.UndefinedError: the template names a value that is missing.
    """
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined  # 50 ms that --help can do without
    loader = ChoiceLoader([PackageLoader(name, "") for name in (package, __package__)])
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True,
                              lstrip_blocks=True)
    return environment.get_template(template).render(values)
