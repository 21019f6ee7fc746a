"""The style of the HTML report: plain, readable in the light and in the dark, and printable.

Words have a contrast of 7 or more against their background, marks of 4.5 or more (WCAG 2.2, 1.4.3 and 1.4.6).
"""

from typing import Final

STYLE: Final = """\
:root { color-scheme: light dark; --page: #ffffff; --words: #1b1d21; --faint: #d5d8dd; --panel: #f4f5f7;
  --good: #1c6b3c; --bad: #a11d1d; --warn: #7a4b00; --link: #0b4fa8; }
@media (prefers-color-scheme: dark) { :root { --page: #14161a; --words: #e8e9eb; --faint: #3b3f46; --panel: #1e2126;
  --good: #7fd6a0; --bad: #ff9c93; --warn: #f0c063; --link: #9cc4ff; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: 1.5rem 1rem 4rem; background: var(--page); color: var(--words);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.3rem; margin-top: 2.5rem; border-bottom: 1px solid var(--faint); }
h3 { font-size: 1.1rem; } h4 { font-size: 1rem; margin-bottom: 0; }
a { color: var(--link); } nav a { display: inline-block; padding: 0.2rem 0.4rem 0.2rem 0; }
.headline { font-size: 1.15rem; font-weight: 600; }
.verdict.pass { color: var(--good); } .verdict.fail { color: var(--bad); }
.verdict.warn, .verdict.inconclusive { color: var(--warn); }
.severity { font-weight: 600; } .severity.critical, .severity.major { color: var(--bad); }
.severity.minor { color: var(--warn); }
article { border: 1px solid var(--faint); border-radius: 6px; padding: 0 1rem 0.5rem; margin: 1rem 0; }
.remedy { border-left: 3px solid var(--faint); padding-left: 0.8rem; margin: 0.6rem 0; }
.wide { overflow-x: auto; margin: 0.8rem 0; }
table { border-collapse: collapse; font-size: 0.9rem; }
caption { text-align: left; font-weight: 600; padding: 0.2rem 0; }
th, td { border: 1px solid var(--faint); padding: 0.25rem 0.5rem; text-align: left; vertical-align: top;
  overflow-wrap: normal; unicode-bidi: isolate; max-width: 40rem; }
thead th { background: var(--panel); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0.1rem 1rem; font-size: 0.9rem; }
dt { font-weight: 600; max-width: 20rem; } dd { margin: 0; unicode-bidi: isolate; }
pre { background: var(--panel); padding: 0.6rem 0.8rem; overflow-x: auto; font-size: 0.85rem; }
summary { cursor: pointer; } li, p { unicode-bidi: isolate; }
figure { margin: 1rem 0; } svg { max-width: 100%; height: auto; }
@media print { article { break-inside: avoid; } nav { display: none; } }
"""
