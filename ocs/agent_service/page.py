"""The page ``/docs``: all requests with examples, to be sent from a browser. It needs nothing from other hosts."""

import json
from html import escape
from typing import Any, Final

from ocs.agent_service.models import EXAMPLES, REQUESTS

__all__ = ["POLICY", "page"]

POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""What a browser may do with the page: nothing is loaded from elsewhere, and no other page may frame it."""

_STYLE: Final = """
body { font: 16px/1.45 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
textarea, input { width: 100%; box-sizing: border-box; font: 14px/1.4 monospace; padding: .4rem }
textarea { height: 7.5rem }
section { border-top: 1px solid #8886; padding: .6rem 0 1rem }
h2 { font-size: 1.1rem; margin: .4rem 0 0 } p { margin: .3rem 0 }
button { font: inherit; padding: .2rem 1rem; margin-top: .3rem }
table { border-collapse: collapse; font-size: 14px } td { padding: .1rem 1rem .1rem 0; vertical-align: top }
pre { white-space: pre-wrap; word-break: break-word; margin: .4rem 0 0 }
@media (prefers-color-scheme: dark) { body { background: #1b1b1b; color: #ddd } a { color: #8bf } }
"""

_SCRIPT: Final = """
const token = document.getElementById("token");
async function send(section) {
  const out = section.querySelector("pre"), begun = performance.now();
  const headers = {"Content-Type": "application/json"};
  if (token.value.trim()) headers["Authorization"] = "Bearer " + token.value.trim();
  out.textContent = "...";
  try {
    const body = section.querySelector("textarea").value;
    const answer = await fetch("post-endpoint", {method: "POST", headers, body});
    const seconds = ((performance.now() - begun) / 1000).toFixed(1);
    out.textContent = answer.status + " after " + seconds + " s\\n" + JSON.stringify(await answer.json(), null, 2);
  } catch (error) {
    out.textContent = "no answer: " + error;
  }
}
for (const section of document.querySelectorAll("section"))
  section.querySelector("button").addEventListener("click", () => send(section));
"""


def page() -> str:
    """Return the page, as HTML."""
    sections = "".join(_section(model) for model in REQUESTS)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>ocs agent service</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>'
        "<h1>ocs agent service</h1>"
        "<p>Components of the observatory, started and ended on any of its machines: POST one of these to"
        ' <code>/post-endpoint</code>. See also <a href="openapi.json">openapi.json</a>,'
        ' <a href="health">health</a>, <a href="metrics">metrics</a>.</p>'
        '<p><label for="token">Token, for all but GetAgentStatus (<code>ocs-agent-service token</code>); it stays in'
        ' this page:</label></p><input id="token" type="password" autocomplete="off" spellcheck="false">'
        f"{sections}<script>{_SCRIPT}</script></body></html>\n"
    )


def _section(model: Any) -> str:
    name = model.__name__
    fields = [(info.alias or field, info) for field, info in model.model_fields.items() if info.alias != "_type"]
    rows = "".join(
        f"<tr><td><code>{escape(field)}</code></td><td>{'' if info.is_required() else 'optional'}</td>"
        f"<td>{escape(info.description or '')}</td></tr>"
        for field, info in fields
    )
    example = escape(json.dumps(EXAMPLES[name], indent=2))
    return (
        f"<section><h2>{name}</h2><p>{escape(model.__doc__ or '')}</p><table>{rows}</table>"
        f'<textarea spellcheck="false" aria-label="{name}">{example}</textarea>'
        "<button>Send</button><pre></pre></section>"
    )
