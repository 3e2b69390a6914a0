"use strict";
// What is shown: the violation, the window, the lanes, the filters. Everything is text from the data, set as text and never as HTML.

const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const state = { chosen: -1, from: 0, to: data.end_ms, focus: false, open: new Set(), room: 0, actor: "", hidden: new Set(), timeAt: null };
const tips = new WeakMap();

function add(parent, name, text, attributes = {}) {
  const node = Object.assign(document.createElement(name), attributes);
  if (text !== undefined) node.textContent = text;
  parent.appendChild(node);
  return node;
}

function fillHeader() {
  document.title = `${data.passed ? "passed" : "FAILED"}: ${data.file} seed ${data.seed}`;
  byId("verdict").textContent = data.passed ? "PASSED" : "FAILED";
  byId("verdict").classList.toggle("failed", !data.passed);
  byId("name").textContent = data.file;
  const facts = [`seed ${data.seed}`, `target ${data.target}`, data.plant && `planted bug ${data.plant}`, data.commit && `commit ${data.commit}`];
  const counts = Object.entries(data.counts).map(([name, count]) => `${count} ${name}`);
  byId("facts").textContent = byId("facts").title = facts.concat(counts.join(", ")).filter(Boolean).join(" · ");
  byId("why").textContent = byId("why").title = data.why;
  byId("replay").textContent = byId("replay").title = data.replay;
  byId("copy").addEventListener("click", () => navigator.clipboard?.writeText(data.replay));
}

function fillViolations() {
  const list = byId("violations");
  const names = Object.entries(data.oracles);
  list.classList.toggle("clean", data.passed);
  if (data.passed) return void add(list, "p", `Nothing was violated. Judged by: ${names.map(([name]) => name).join(", ")}.`);
  const violated = names.filter(([, count]) => count > 0).map(([name, count]) => `${name} ${count}×`);
  const left = data.violations_of - data.violations.length;
  add(list, "p", `Violated: ${violated.join(", ")}. Click one to see it; 4.1 is the first connection of actor 4${left > 0 ? `; ${left} more are not listed` : ""}.`);
  data.violations.forEach((violation, n) => {
    const row = add(list, "button", undefined, { type: "button" });
    add(row, "b", violation.oracle);
    add(row, "span", ` at ${seconds(violation.t_ms)}: ${violation.what}`);
    const causes = (data.views[n]?.causes || []).map((i) => data.bands[i]);
    const told = causes.map((band) => `${band.label} (${seconds(band.from_ms)} – ${seconds(band.to_ms)})`);
    if (told.length) add(row, "span", `  Fault before it: ${told.join("; ")}.`, { className: "cause", hidden: true });
    row.addEventListener("click", () => choose(n));
  });
}

function fillFilters() {
  data.drawn.rooms.forEach((room, n) => add(byId("room"), "option", n ? room : "all", { value: n }));
  byId("room").addEventListener("change", (e) => { state.room = Number(e.target.value); draw(); });
  byId("actor").addEventListener("input", (e) => { state.actor = e.target.value.trim().toLowerCase(); draw(); });
  for (const [kind, sample] of LEGEND) {
    const label = add(byId("kinds"), "label");
    const box = add(label, "input", undefined, { type: "checkbox", checked: kind !== "acks" });
    if (!box.checked) state.hidden.add(kind);
    const svg = make(label, "svg", { viewBox: "-8 -8 16 16" });
    glyph(svg, sample, sample === "receive" ? 3 : 0, 0);
    add(label, "span", kind);
    label.title = Object.keys(GLYPHS).filter((mark) => GLYPHS[mark][0] === kind).join(", ");
    box.addEventListener("change", () => { state.hidden[box.checked ? "delete" : "add"](kind); draw(); });
  }
  byId("lanes").addEventListener("click", () => { state.focus = !state.focus; state.open.clear(); draw(); });
  byId("in").addEventListener("click", () => zoom(.5));
  byId("out").addEventListener("click", () => zoom(2));
  byId("all").addEventListener("click", () => move(0, data.end_ms));
}

function choose(n) {
  const view = data.views[n], t = data.violations[n].t_ms;
  state.chosen = n;
  state.focus = Boolean(view);
  state.open.clear();
  byId("violations").querySelectorAll("button").forEach((row, i) => {
    row.setAttribute("aria-current", i === n);
    const cause = row.querySelector(".cause");
    if (cause) cause.hidden = i !== n;
    if (i === n) row.scrollIntoView({ block: "nearest" });
  });
  byId("diagram").scrollTop = 0;
  move(view ? view.from_ms : t - 1500, view ? view.to_ms : t + 500);
}

function move(from, to) {
  const span = Math.min(Math.max(20, to - from), data.end_ms || 1);
  state.from = Math.max(0, Math.min(from, data.end_ms - span * .97));
  state.to = state.from + span;
  draw();
}

function zoom(factor, at = (state.from + state.to) / 2) {
  move(at - (at - state.from) * factor, at + (state.to - at) * factor);
}

// Rows of the diagram: lanes that concern, and one row for the rest of each group.
function rows() {
  const view = data.views[state.chosen];
  const asked = (lane) => !state.actor || !lane.name.startsWith("actor") || `${lane.name} ${lane.label}`.toLowerCase().includes(state.actor);
  const shown = (lane, n) => (state.actor && lane.name.startsWith("actor")) || !state.focus || !view || view.lanes.includes(n);
  const groups = new Map();
  data.lanes.forEach((lane, n) => { if (asked(lane)) groups.set(lane.group, [...(groups.get(lane.group) || []), n]); });
  const found = [], rowOf = new Map();
  for (const [group, lanes] of groups) {
    const open = state.open.has(group);
    const folded = lanes.filter((n) => !shown(data.lanes[n], n));
    for (const n of lanes.filter((n) => open || shown(data.lanes[n], n))) { rowOf.set(n, found.length); found.push({ lane: n }); }
    if (!folded.length) continue;
    const some = folded.length < lanes.length;
    if (!open) for (const n of folded) rowOf.set(n, found.length);
    found.push({ group, open, text: open ? `fewer of ${group}` : `${group}: ${folded.length}${some ? " more" : ""}` });
  }
  return [found, rowOf];
}

function tip(node, text) {
  tips.set(node, text);
}

function shows(kind, room, ...lanes) {
  if (state.hidden.has(kind) || (state.room && room !== state.room)) return false;
  return !state.actor || lanes.some((n) => n >= 0 && `${data.lanes[n].name} ${data.lanes[n].label}`.toLowerCase().includes(state.actor));
}

function draw() {
  const box = byId("diagram"), [found, rowOf] = rows();
  const room = box.clientHeight - AXIS;
  const rowHeight = Math.max(22, Math.min(44, Math.floor(room / Math.max(1, found.length))));
  byId("space").style.height = `${Math.max(box.clientHeight, AXIS + found.length * rowHeight)}px`;
  const width = box.clientWidth;
  const fold = (row) => { state.open[row.open ? "delete" : "add"](row.group); draw(); };
  const frame = { data, rows: found, rowOf, rowHeight, width, height: box.clientHeight, scroll: box.scrollTop, shows, tip, fold, choose };
  const skipped = drawDiagram(byId("view"), { ...frame, from: state.from, to: state.to, chosen: state.chosen, view: data.views[state.chosen] });
  state.timeAt = drawRun(byId("run"), { data, from: state.from, to: state.to, width });
  byId("lanes").textContent = state.focus ? "show all lanes" : "only lanes concerned";
  byId("lanes").hidden = !data.views.length;
  const notes = ["How a publication spends its time between publisher, Shields and receiver is not recorded: its bends are drawn evenly."];
  if (skipped > 0) notes.unshift(`${skipped} marks are not drawn in this window: zoom in.`);
  if (data.drawn.shown < data.drawn.of) notes.unshift(`This page holds ${data.drawn.shown} of ${data.drawn.of} records: all that concern the first violations, and a sample of the others.`);
  if (data.lanes_left_out) notes.unshift(`${data.lanes_left_out} actors have no lane here.`);
  if (data.skipped.length) notes.unshift(`${data.skipped.length} faults could not be injected on this target.`);
  byId("notes").textContent = byId("notes").title = notes.join(" ");
}

function follow() {
  const box = byId("diagram"), run = byId("run"), hint = byId("tip");
  let drag = null;
  box.addEventListener("pointerdown", (e) => { drag = { x: e.clientX, from: state.from, to: state.to }; });
  run.addEventListener("pointerdown", (e) => { drag = { begin: state.timeAt(e.offsetX) }; run.setPointerCapture(e.pointerId); });
  window.addEventListener("pointermove", (e) => {
    if (drag && drag.begin === undefined && Math.abs(e.clientX - drag.x) > 3) {
      const ms = ((e.clientX - drag.x) / (box.clientWidth - GUTTER)) * (drag.to - drag.from);
      box.classList.add("dragging");
      move(drag.from - ms, drag.to - ms);
    } else if (drag && drag.begin !== undefined) {
      const ends = [drag.begin, state.timeAt(e.clientX - run.getBoundingClientRect().left)].sort((a, b) => a - b);
      if (ends[1] - ends[0] > data.end_ms / 500) move(Math.max(0, ends[0]), Math.min(data.end_ms, ends[1]));
    }
    let node = e.target;
    while (node && !tips.has(node)) node = node.parentNode;
    hint.hidden = !node || Boolean(drag);
    if (!node) return;
    hint.textContent = tips.get(node);
    hint.style.left = `${Math.min(e.clientX + 14, window.innerWidth - hint.offsetWidth - 8)}px`;
    hint.style.top = `${Math.min(e.clientY + 14, window.innerHeight - hint.offsetHeight - 8)}px`;
  });
  window.addEventListener("pointerup", () => { drag = null; box.classList.remove("dragging"); });
  box.addEventListener("scroll", draw);
  box.addEventListener("wheel", (e) => {
    if (!e.ctrlKey && !e.shiftKey) return;
    e.preventDefault();
    const at = state.from + ((e.offsetX - GUTTER) / (box.clientWidth - GUTTER)) * (state.to - state.from);
    zoom((e.deltaY || e.deltaX) > 0 ? 1.25 : .8, at);
  }, { passive: false });
  window.addEventListener("resize", draw);
  window.addEventListener("keydown", (e) => {
    if (e.target.matches("input, select")) return;
    const span = state.to - state.from, last = data.violations.length - 1;
    const keys = {
      "+": () => zoom(.5), "-": () => zoom(2), "0": () => move(0, data.end_ms),
      "ArrowLeft": () => move(state.from - span / 4, state.to - span / 4), "ArrowRight": () => move(state.from + span / 4, state.to + span / 4),
      "n": () => last >= 0 && choose(Math.min(last, state.chosen + 1)), "p": () => last >= 0 && choose(Math.max(0, state.chosen - 1)),
    };
    keys[e.key]?.();
  });
}

fillHeader();
fillViolations();
fillFilters();
follow();
if (data.violations.length) choose(0); else draw();
