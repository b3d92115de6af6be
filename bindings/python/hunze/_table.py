"""A dict that prints as a table and shows as HTML in a notebook: what explain, info and meter return."""


def _quantity(value):
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "not known"}[value]
    if isinstance(value, int):
        return f"{value:,}".replace(",", " ")
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, (list, tuple)) and not any(isinstance(item, (dict, list, tuple)) for item in value):
        return ", ".join(_quantity(item) for item in value) or "none"
    return str(value)


def _rows(mapping, prefix=""):
    """(name, text) for each leaf; a list of dicts gives one row per dict."""
    for name, value in mapping.items():
        if isinstance(value, dict):
            yield from _rows(value, f"{prefix}{name}.")
        elif isinstance(value, (list, tuple)) and any(isinstance(item, dict) for item in value):
            for index, item in enumerate(value):
                texts = [_quantity(part) for part in item.values()]
                yield (f"{prefix}{name}" if index == 0 else "", ": ".join(texts))
        else:
            yield f"{prefix}{name}", _quantity(value)


class Table(dict):
    """A plain dict with a table for its repr."""

    def _shown(self):
        """What the table shows."""
        return self

    def __repr__(self):
        rows = list(_rows(self._shown()))
        width = max((len(name) for name, _ in rows), default=0)
        return "\n".join(f"{name:<{width}}  {text}".rstrip() for name, text in rows)

    def _repr_html_(self):
        from html import escape

        cells = "".join(
            f'<tr><th style="text-align:left">{escape(name)}</th><td style="text-align:left">{escape(text)}</td></tr>'
            for name, text in _rows(self._shown())
        )
        return f"<table>{cells}</table>"
