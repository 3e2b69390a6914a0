"use strict";
// How a run is drawn. Knows nothing of buttons; `page.js` says what to draw and how large.

const SVG = "http://www.w3.org/2000/svg";
const GUTTER = 168, AXIS = 40, RIGHT = 26;
const DRAWN_MAX = 5000;
const HUES = ["#b45309", "#0e7490", "#7c3aed", "#4d7c0f", "#be185d", "#0f766e", "#92400e", "#4338ca"];

// Each mark: [kind of the filter, colour, shape]. Shapes fit into -6..6; a hollow one starts with "o".
const GLYPHS = {
  "publish": ["messages", "#2457c5", "M-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0-7 0"],
  "receive": ["messages", "#2457c5", "M0 0L-7 -3L-7 3Z"],
  "ack": ["acks", "#2457c5", "oM-4 0L-1 3L4 -4"],
  "gap": ["gaps", "#d97706", "M0 -6L6 0L0 6L-6 0Z"],
  "connecting": ["connections", "#14804a", "oM-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0"],
  "connected": ["connections", "#14804a", "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0-10 0"],
  "closed": ["connections", "#1b2230", "oM-5 -5L5 5M-5 5L5 -5"],
  "leaves for good": ["connections", "#1b2230", "M-4 -6H4V6H-4Z"],
  "subscribing": ["rooms", "#0f766e", "oM-4 -5L4 0L-4 5Z"],
  "subscribed": ["rooms", "#0f766e", "M-4 -5L4 0L-4 5Z"],
  "unsubscribing": ["rooms", "#0f766e", "oM4 -5L-4 0L4 5Z"],
  "unsubscribed": ["rooms", "#0f766e", "M4 -5L-4 0L4 5Z"],
  "presence join": ["presence", "#7c3aed", "M0 -6L6 5H-6Z"],
  "presence leave": ["presence", "#7c3aed", "oM0 6L6 -5H-6Z"],
  "presence stale": ["presence", "#7c3aed", "oM-5 -5H5V5H-5ZM-5 5L5 -5"],
  "presence view": ["presence", "#7c3aed", "oM-6 0Q0 -6 6 0Q0 6 -6 0ZM-1 0H1"],
  "refused": ["other", "#b45309", "oM-5 0a5 5 0 1 0 10 0a5 5 0 1 0-10 0M-3 0H3"],
  "no answer": ["other", "#b45309", "oM-3 -3Q0 -7 3 -3Q3 -1 0 0V2M0 5V6"],
  "stops reading": ["other", "#b45309", "M-4 -5H-1V5H-4ZM1 -5H4V5H1Z"],
  "readiness": ["other", "#1b2230", "oM-5 -5H5V5H-5Z"],
  "queue": ["other", "#667085", "M-5 2H5V5H-5ZM-5 -2H2V1H-5Z"],
  "control message": ["other", "#667085", "oM-5 0L-2 -5H2L5 0L2 5H-2Z"],
  "clock moves": ["other", "#667085", "oM-5 0a5 5 0 1 0 10 0a5 5 0 1 0-10 0M0 -3V0L3 0"],
  "token refreshed": ["other", "#14804a", "oM-4 2A5 5 0 1 1 0 5M-4 2L-6 -1M-4 2L-1 0"],
};
const LEGEND = [["messages", "receive"], ["acks", "ack"], ["gaps", "gap"], ["connections", "connected"],
  ["rooms", "subscribed"], ["presence", "presence join"], ["other", "readiness"]];

function make(parent, name, attributes, text) {
  const node = document.createElementNS(SVG, name);
  for (const key in attributes) node.setAttribute(key, attributes[key]);
  if (text !== undefined) node.textContent = text;
  parent.appendChild(node);
  return node;
}

function glyph(parent, kind, x, y) {
  const [, colour, shape] = GLYPHS[kind];
  const hollow = shape[0] === "o";
  const style = hollow ? { fill: "#fff", "fill-opacity": .6, stroke: colour, "stroke-width": 1.6 } : { fill: colour };
  return make(parent, "path", { d: hollow ? shape.slice(1) : shape, transform: `translate(${x} ${y})`, ...style });
}

function seconds(ms, digits = 3) {
  return (ms / 1000).toFixed(digits) + " s";
}

function colourOf(data, band) {
  const kinds = [...new Set(data.bands.map((b) => b.kind))];
  return HUES[kinds.indexOf(band.kind) % HUES.length];
}

function hits(band, lane) {
  if (band.nodes.length === 0) return lane.name.startsWith("actor");
  return band.nodes.includes(lane.node);
}

// Round steps for the axis, at least `least` pixels apart.
function ticks(from, to, width, least) {
  let step = 1;
  for (const next of [2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 6e4, 3e5, 6e5, 36e5]) {
    if ((step / (to - from)) * width >= least) break;
    step = next;
  }
  const found = [];
  for (let t = Math.ceil(from / step) * step; t <= to; t += step) found.push(t);
  return [found, step >= 1000 ? 0 : step >= 100 ? 1 : step >= 10 ? 2 : 3];
}

// Draws `frame`: { data, rows, rowOf, from, to, width, height, scroll, rowHeight, shows(kind, room), view, chosen, tip }.
function drawDiagram(svg, frame) {
  const { data, rows, rowHeight, from, to, width, height, scroll } = frame;
  svg.replaceChildren();
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.style.height = `${height}px`;
  const clip = make(svg, "clipPath", { id: "time" });
  make(clip, "rect", { x: GUTTER, y: 0, width: width - GUTTER, height });
  const x = (t) => GUTTER + ((t - from) / (to - from)) * (width - GUTTER - RIGHT);
  const y = (row) => AXIS + row * rowHeight - scroll + rowHeight / 2;
  const visible = (row) => y(row) > AXIS - rowHeight && y(row) < height + rowHeight;
  const inside = (t) => t >= from && t <= to;
  const plot = { ...frame, x, y, visible, inside };
  const lanes = make(svg, "g", {});
  drawRows(lanes, plot);
  const layer = () => make(svg, "g", { "clip-path": "url(#time)" });
  drawBands(layer(), plot);
  const skipped = drawMessages(layer(), plot) + drawEvents(layer(), plot);
  make(svg, "rect", { x: 0, y: 0, width, height: AXIS, fill: "#fff", opacity: .93 });
  drawAxis(make(svg, "g", {}), plot);
  drawViolations(layer(), plot);
  return skipped;
}

function drawRows(parent, { data, rows, rowHeight, width, x, y, visible, from, to, tip, fold }) {
  const lives = new Map();
  for (const life of data.drawn.connections) lives.set(life[0], [...(lives.get(life[0]) || []), life]);
  rows.forEach((row, i) => {
    if (!visible(i)) return;
    const top = y(i) - rowHeight / 2;
    const lane = row.lane === undefined ? null : data.lanes[row.lane];
    const server = lane && !lane.name.startsWith("actor");
    const group = make(parent, "g", { class: lane ? "lane" : "fold", "data-lane": lane ? lane.name : row.group });
    make(group, "rect", { x: 0, y: top, width, height: rowHeight, fill: server ? "#eef2f8" : i % 2 ? "#fff" : "#f8fafc" });
    make(group, "text", { x: 14, y: y(i) + 4 }, lane ? lane.label.slice(0, 26) : `${row.open ? "▾" : "▸"} ${row.text}`);
    if (!lane) return void group.addEventListener("click", () => fold(row));
    tip(group, lane.detail || lane.name);
    make(group, "line", { x1: GUTTER, x2: width, y1: y(i), y2: y(i), stroke: server ? "#94a3b8" : "#cbd5e1", "stroke-dasharray": server ? "" : "2 4" });
    for (const [, begin, end] of lives.get(row.lane) || []) {
      if (end < from || begin > to) continue;
      make(group, "line", { x1: x(Math.max(begin, from)), x2: x(Math.min(end, to)), y1: y(i), y2: y(i), stroke: "#64748b", "stroke-width": 1.5 });
    }
  });
}

function drawBands(parent, { data, rows, rowHeight, x, y, visible, from, to, tip, view }) {
  data.bands.forEach((band, number) => {
    if (band.to_ms < from || band.from_ms > to) return;
    const colour = colourOf(data, band);
    const left = x(Math.max(band.from_ms, from)), right = Math.max(x(Math.min(band.to_ms, to)), left + 3);
    const cause = Boolean(view && view.causes.includes(number));
    const group = make(parent, "g", { class: cause ? "band cause" : "band", "data-fault": number });
    tip(group, `fault: ${band.label}\nfrom ${seconds(band.from_ms)} to ${seconds(band.to_ms)}`);
    let labelled = false;
    rows.forEach((row, i) => {
      const lane = row.lane === undefined ? null : data.lanes[row.lane];
      if (!lane || !visible(i) || !hits(band, lane)) return;
      const top = y(i) - rowHeight / 2 + 1;
      make(group, "rect", { x: left, y: top, width: right - left, height: rowHeight - 2, fill: colour, "fill-opacity": cause ? .3 : .16, stroke: colour, "stroke-opacity": .7 });
      if (labelled) return;
      labelled = true;
      const label = make(group, "text", { x: left + 5, y: top + 10, style: `fill:${colour}` }, band.label);
      // A label that would leave the window stands before its band.
      if (left + 5 + label.getComputedTextLength() > x(to)) { label.setAttribute("x", right - 5); label.setAttribute("text-anchor", "end"); }
    });
  });
}

function shieldAt(data, lane, t) {
  const life = data.drawn.connections.find((c) => c[0] === lane && c[1] <= t && c[2] >= t);
  return life && life[3];
}

function drawMessages(parent, { data, rowOf, x, y, inside, from, to, shows, view, tip, rows }) {
  const drawn = data.drawn;
  const folded = (lane) => lane < 0 || rows[rowOf.get(lane)]?.lane === undefined;
  const named = (m) => Boolean(view && view.publications.some(([p, seq]) => m[5] === p && m[6] === seq)
    && (view.room === null || drawn.rooms[m[4]] === view.room));
  const wanted = drawn.messages.filter((m) => m[2] >= from && m[0] <= to && !(folded(m[1]) && folded(m[3])) && shows("messages", m[4], m[1], m[3]));
  const step = Math.max(1, wanted.length / DRAWN_MAX);
  for (let i = 0; i < wanted.length; i += step) {
    const m = wanted[Math.floor(i)];
    const [published, from_lane, received, to_lane, room, publisher, seq] = m;
    const d = received - published, points = [];
    const via = [shieldAt(data, from_lane, published), shieldAt(data, to_lane, received)];
    if (rowOf.has(from_lane)) points.push([published, from_lane]);
    const same = via[0] === via[1];
    if (via[0] !== undefined && rowOf.has(via[0])) points.push([published + d * (same ? .5 : .33), via[0]]);
    if (!same && via[1] !== undefined && rowOf.has(via[1])) points.push([published + d * .67, via[1]]);
    const arrives = rowOf.has(to_lane);
    if (arrives) points.push([received, to_lane]);
    if (points.length === 0) continue;
    const path = points.map(([t, lane]) => `${x(t).toFixed(1)} ${y(rowOf.get(lane)).toFixed(1)}`).join("L");
    const line = make(parent, "path", { class: named(m) ? "message named" : "message", d: `M${path}` });
    tip(line, `publication ${seq} of ${publisher} in ${drawn.rooms[room]}\npublished ${seconds(published)}, received ${seconds(received)} by ${data.lanes[to_lane].name}\nafter ${d} ms`);
    if (!arrives || !inside(received)) continue;
    const [t, lane] = points.length > 1 ? points[points.length - 2] : [published, to_lane];
    const angle = Math.atan2(y(rowOf.get(to_lane)) - y(rowOf.get(lane)), x(received) - x(t)) * 180 / Math.PI;
    const head = glyph(parent, "receive", x(received), y(rowOf.get(to_lane)));
    head.setAttribute("transform", `${head.getAttribute("transform")} rotate(${angle})`);
    if (named(m)) head.setAttribute("fill", "#c8102e");
  }
  return wanted.length - Math.ceil(wanted.length / step);
}

function drawEvents(parent, { data, rows, rowOf, x, y, visible, inside, shows, tip }) {
  const drawn = data.drawn;
  const on = (e) => inside(e[0]) && rowOf.has(e[1]) && rows[rowOf.get(e[1])].lane !== undefined && visible(rowOf.get(e[1]));
  const wanted = drawn.events.filter((e) => GLYPHS[e[2]] && on(e) && shows(GLYPHS[e[2]][0], e[3], e[1]));
  const step = Math.max(1, wanted.length / DRAWN_MAX);
  for (let i = 0; i < wanted.length; i += step) {
    const [t, lane, kind, room, conn, id, text] = wanted[Math.floor(i)];
    const mark = glyph(parent, kind, x(t), y(rowOf.get(lane)));
    if (kind === "readiness") {
      mark.setAttribute("fill", text.includes("not ready") ? "#1b2230" : "#fff");
      make(parent, "text", { x: x(t) + 9, y: y(rowOf.get(lane)) + 15, class: "dim" }, text.includes("not ready") ? "not ready" : "ready");
    }
    const where = [room ? `room ${drawn.rooms[room]}` : "", conn ? `connection ${conn}` : "", id ? `command ${id}` : ""];
    tip(mark, `${kind} · ${data.lanes[lane].name} · ${seconds(t)}\n${where.filter(Boolean).join(" · ")}\n${text}`.trim());
    if (kind === "gap") make(parent, "text", { x: x(t) + 8, y: y(rowOf.get(lane)) - 5, style: "fill:#b45309" }, text.match(/(\d+) missed/)?.[1] ?? "?");
  }
  return wanted.length - Math.ceil(wanted.length / step);
}

function drawAxis(parent, { data, x, from, to, width, height }) {
  const [times, digits] = ticks(from, to, width - GUTTER, 80);
  for (const t of times) {
    make(parent, "line", { x1: x(t), x2: x(t), y1: AXIS - 6, y2: height, stroke: "#1b2230", "stroke-opacity": .08 });
    make(parent, "text", { x: x(t), y: AXIS - 9, "text-anchor": "middle", class: "dim" }, seconds(t, digits));
  }
  make(parent, "text", { x: 14, y: AXIS - 9, class: "dim" }, "time runs to the right");
  if (data.quiet_ms < from || data.quiet_ms > to) return;
  make(parent, "line", { x1: x(data.quiet_ms), x2: x(data.quiet_ms), y1: AXIS, y2: height, stroke: "#14804a", "stroke-dasharray": "1 3" });
  make(parent, "text", { x: x(data.quiet_ms) + 4, y: height - 6, style: "fill:#14804a" }, "all faults healed");
}

function drawViolations(parent, { data, rowOf, rows, x, y, visible, inside, chosen, choose, tip, height, width }) {
  const order = data.violations.map((_, n) => n).filter((n) => n !== chosen).concat(chosen >= 0 ? [chosen] : []);
  const seen = new Set();
  for (const n of order) {
    const violation = data.violations[n], view = data.views[n];
    const at = violation && x(violation.t_ms);
    // Many at one moment look like one.
    if (!violation || !inside(violation.t_ms) || (n !== chosen && seen.has(Math.round(at)))) continue;
    seen.add(Math.round(at));
    const group = make(parent, "g", { class: n === chosen ? "violation" : "violation other", "data-violation": n });
    tip(group, `${violation.oracle} at ${seconds(violation.t_ms)}\n${violation.what}`);
    group.addEventListener("click", () => choose(n));
    make(group, "line", { x1: at, x2: at, y1: AXIS - 4, y2: height });
    if (n !== chosen) continue;
    for (const lane of view ? view.marked : []) {
      const row = rowOf.get(lane);
      if (row !== undefined && rows[row].lane !== undefined && visible(row)) make(group, "circle", { cx: at, cy: y(row), r: 9 });
    }
    const flag = make(group, "rect", { y: 1, height: 16, rx: 3 });
    const label = make(group, "text", { y: 13 }, `${violation.oracle} violated at ${seconds(violation.t_ms)}`);
    const size = label.getComputedTextLength() + 12;
    const left = Math.min(Math.max(at - size / 2, GUTTER), width - size - 2);
    flag.setAttribute("x", left);
    flag.setAttribute("width", size);
    label.setAttribute("x", left + 6);
  }
}

// The strip below: delivery latency over the whole run, faults, violations, and the window that is shown above.
function drawRun(svg, { data, from, to, width }) {
  const height = 92, top = 16, bottom = 76;
  svg.replaceChildren();
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const x = (t) => GUTTER + (t / data.end_ms) * (width - GUTTER - RIGHT);
  const most = Math.max(10, ...data.latency.map((c) => c.p99_ms));
  const y = (ms) => bottom - (Math.log10(1 + ms) / Math.log10(1 + most)) * (bottom - top);
  make(svg, "text", { x: 14, y: top + 12 }, "delivery latency");
  [["p99", "#b45309"], ["p50", "#2457c5"]].forEach(([name, colour], i) => {
    make(svg, "line", { x1: 14 + i * 52, x2: 30 + i * 52, y1: top + 26, y2: top + 26, stroke: colour, "stroke-width": 2 });
    make(svg, "text", { x: 34 + i * 52, y: top + 30 }, name);
  });
  make(svg, "text", { x: 14, y: top + 48, class: "dim" }, "drag here to zoom");
  for (const band of data.bands) {
    const colour = colourOf(data, band);
    const mark = make(svg, "rect", { x: x(band.from_ms), y: top - 4, width: Math.max(2, x(band.to_ms) - x(band.from_ms)), height: bottom - top + 4, fill: colour, "fill-opacity": .16 });
    make(mark.parentNode, "rect", { x: x(band.from_ms), y: top - 4, width: Math.max(2, x(band.to_ms) - x(band.from_ms)), height: 3, fill: colour });
  }
  for (let ms = 1; ms <= most; ms *= 10) {
    make(svg, "line", { x1: GUTTER, x2: width - RIGHT, y1: y(ms), y2: y(ms), stroke: "#e5e9f0" });
    make(svg, "text", { x: GUTTER - 5, y: y(ms) + 4, "text-anchor": "end", class: "dim" }, ms < 1000 ? `${ms} ms` : `${ms / 1000} s`);
  }
  // Where nothing was delivered there is no line.
  const apart = Math.max(1, data.end_ms / 80);
  for (const [field, colour] of [["p99_ms", "#b45309"], ["p50_ms", "#2457c5"]]) {
    const goesOn = (c, i) => i > 0 && c.from_ms - data.latency[i - 1].from_ms <= apart;
    const path = data.latency.map((c, i) => `${goesOn(c, i) ? "L" : "M"}${x(c.from_ms).toFixed(1)} ${y(c[field]).toFixed(1)}h1`);
    if (path.length) make(svg, "path", { d: path.join(""), fill: "none", stroke: colour, "stroke-width": 1.5 });
  }
  const [times, digits] = ticks(0, data.end_ms, width - GUTTER, 80);
  for (const t of times) make(svg, "text", { x: x(t), y: height - 3, "text-anchor": "middle", class: "dim" }, seconds(t, digits));
  const moments = new Set(data.violations.map((v) => Math.round(x(v.t_ms))));
  for (const at of moments) make(svg, "line", { x1: at, x2: at, y1: top - 12, y2: bottom, stroke: "#c8102e", "stroke-width": 1.5, "stroke-opacity": moments.size > 20 ? .35 : 1 });
  make(svg, "rect", { id: "window", x: x(from), y: 2, width: Math.max(3, x(to) - x(from)), height: bottom, fill: "#2457c5", "fill-opacity": .07, stroke: "#2457c5" });
  return (px) => ((px - GUTTER) / (width - GUTTER - RIGHT)) * data.end_ms;
}
