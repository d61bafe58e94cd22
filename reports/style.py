"""The style sheet of the report page: one column of calm type, light and dark."""

CSS = """
:root {
  color-scheme: light dark;
  --paper: #fbfbfa; --card: #ffffff; --ink: #1b1f24; --soft: #59636e; --faint: #8b949e;
  --rule: #e3e5e8; --hover: #f4f5f6;
  --pass: #1a7f4b; --missed: #9a6200; --alert: #c3272b; --open: #4a5fa5;
  --simulated: #2463b4; --emulated: #b8500f; --live: #7a3fa0;
  --mono: ui-monospace, "SF Mono", "Cascadia Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14171a; --card: #1b1f23; --ink: #e4e7ea; --soft: #a0a9b2; --faint: #6f7982;
    --rule: #2c3238; --hover: #20252a;
    --pass: #4cc38a; --missed: #e2a63b; --alert: #ff7b72; --open: #9db2f5;
    --simulated: #6cabf5; --emulated: #f0944d; --live: #c79bea;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans",
    "Liberation Sans", Arial, sans-serif;
  font-variant-numeric: tabular-nums;
}
main { max-width: 1200px; margin: 0 auto; padding: 40px 24px 64px; }
h1 { font-size: 30px; line-height: 1.2; font-weight: 650; letter-spacing: -0.015em; margin: 0; }
h2 { font-size: 18px; font-weight: 650; letter-spacing: -0.005em; margin: 48px 0 4px; }
h3 { font-size: 14px; font-weight: 650; margin: 0 0 4px; }
p { margin: 0 0 12px; }
code, .mono { font-family: var(--mono); font-size: 0.86em; overflow-wrap: anywhere; }
.pill { display: inline-block; vertical-align: 0.18em; margin-left: 0.35em; padding: 1px 12px 2px;
  border-radius: 99px; border: 1.5px solid var(--tone); color: var(--tone); font-size: 15px;
  font-weight: 620; letter-spacing: 0; }
.eyebrow { color: var(--soft); font-size: 13px; margin: 0 0 4px; }
.lead { color: var(--soft); max-width: 72ch; margin: 0 0 16px; }
.worlds { margin: 12px 0 24px; color: var(--soft); max-width: 84ch; }
.worlds p { margin: 0 0 6px; }
.worlds em { color: var(--ink); font-style: normal; font-weight: 550; }

.verdicts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(320px, 100%), 1fr));
  gap: 16px; }
.verdict { background: var(--card); border: 1px solid var(--rule); border-radius: 10px;
  border-left: 5px solid var(--tone); padding: 16px 20px 18px; }
.verdict .of { color: var(--soft); font-size: 13px; }
.verdict .word { color: var(--tone); font-size: 32px; line-height: 1.2; font-weight: 680;
  letter-spacing: -0.02em; margin: 2px 0 6px; }
.verdict .word .sign { font-weight: 500; margin-right: 0.3em; }
.verdict .code { float: right; color: var(--soft); font-size: 13px; }
.verdict p { margin: 0; overflow-wrap: anywhere; }
.pass { --tone: var(--pass); } .missed { --tone: var(--missed); } .alert { --tone: var(--alert); }
.not-valid { --tone: var(--alert); } .inconclusive, .no-data { --tone: var(--open); }

.scroll { overflow-x: auto; background: var(--card); border: 1px solid var(--rule);
  border-radius: 10px; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th, td { text-align: left; padding: 9px 14px; border-top: 1px solid var(--rule);
  vertical-align: top; white-space: nowrap; }
thead th { border-top: 0; color: var(--soft); font-weight: 550; font-size: 12.5px; }
tbody th { font-weight: 550; }
tbody tr:hover td, tbody tr:hover th { background: var(--hover); }
.scroll th:first-child { position: sticky; left: 0; background: var(--card); z-index: 1; }
td.num, th.num { text-align: right; }
th.first, td.first { border-left: 1px solid var(--rule); }
.sub { display: block; color: var(--soft); font-weight: 400; font-size: 12.5px; }
table .narrow { display: none; }
.value { font-weight: 620; }
td .sub { white-space: normal; min-width: 92px; }
.several th, .several td { padding: 9px 10px; } .several .gauge { width: 130px; }
.several th:first-child { white-space: normal; }
@media (max-width: 1180px) {
  .several .wide { display: none; } .several .narrow { display: block; }
}
.word-cell { color: var(--tone); font-weight: 620; }
.word-cell .sign { display: inline-block; width: 1.15em; }
.gauge { display: block; width: 150px; height: 14px; margin-top: 4px; }
.gauge .track { stroke: var(--rule); stroke-width: 4; stroke-linecap: round; }
.gauge .limit { stroke: var(--soft); stroke-width: 1.5; }
.gauge .bar { stroke: var(--tone); stroke-width: 4; opacity: 0.35; stroke-linecap: round; }
.gauge circle { fill: var(--tone); }

.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(330px, 100%), 1fr));
  gap: 16px; }
figure { margin: 0; background: var(--card); border: 1px solid var(--rule); border-radius: 10px;
  padding: 14px 16px 10px; min-width: 0; }
figure svg { display: block; width: 100%; height: auto; }
figure table { font-size: 12.5px; margin-top: 6px; }
figure th, figure td { padding: 4px 0 4px 8px; }
figure th:first-child { padding-left: 0; }
svg text { font-size: 11px; fill: var(--soft); }
svg .grid { stroke: var(--rule); stroke-width: 1; }
svg .grid.p95 { stroke: var(--faint); stroke-dasharray: 1 3; }
svg .target { stroke: var(--ink); stroke-width: 1; stroke-dasharray: 5 4; opacity: 0.75; }
figure .head { display: flex; flex-wrap: wrap; justify-content: space-between;
  align-items: baseline; gap: 0 12px; margin-bottom: 4px; }
figure .head .dash { display: inline-block; width: 22px; height: 8px; margin-right: 6px; }
.simulated { --line: var(--simulated); } .emulated { --line: var(--emulated); }
.live { --line: var(--live); }
svg polyline { fill: none; stroke: var(--line); stroke-width: 2; stroke-linejoin: round; }
svg g circle { fill: var(--line); stroke: var(--card); stroke-width: 1.2; }
svg .label { fill: var(--line); font-weight: 600; stroke: var(--card); stroke-width: 3;
  paint-order: stroke; stroke-linejoin: round; }
.key { color: var(--line); font-weight: 620; }

dl { display: grid; grid-template-columns: max-content 1fr; gap: 4px 20px; margin: 0; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(330px, 100%), 1fr));
  gap: 24px 40px; }
.pair { display: flex; flex-wrap: wrap; gap: 24px 28px; }
.pair > * { flex: 1 1 max-content; max-width: 100%; }
.pair table { font-size: 13px; } .pair th, .pair td { padding: 6px 10px; }
.defs dl { display: block; columns: 420px 2; column-gap: 40px; font-size: 14px; }
.defs div { break-inside: avoid; padding-top: 16px; }
.defs dt { color: var(--ink); font-weight: 600; }
.defs dd { color: var(--soft); }
details summary { cursor: pointer; color: var(--soft); }
pre { overflow-x: auto; font: 12.5px/1.5 var(--mono); background: var(--card);
  border: 1px solid var(--rule); border-radius: 10px; padding: 14px 16px; }
@media (max-width: 560px) {
  main { padding: 24px 16px 48px; }
  h1 { font-size: 24px; } h2 { margin-top: 36px; }
  table .wide { display: none; } table .narrow { display: block; }
  th, td { padding: 8px 10px; }
  .scroll th:first-child { white-space: normal; min-width: 120px; max-width: 136px; }
  .bounds { display: block; } .gauge { width: 116px; }
  figure { padding: 12px 10px 8px; }
  dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: 8px; }
}
@media print { body { background: #fff; } .scroll, figure, .verdict { break-inside: avoid; } }
"""
