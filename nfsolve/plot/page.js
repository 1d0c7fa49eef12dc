"use strict";
// What a reader can move on a page about a run: curves, and maps with sliders. No libraries, so that the file is complete.

const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999"];
const SCALES = { // samples of matplotlib's colour maps, which are in the public domain
  values: "44015448186a472d7b4240863b528b33638d2c728e26828e21918c1fa08828ae803fbc735ec96284d44baddc30d8e219fde725",
  error: "0000040a08221d114736106b51127c6a1c818326819c2e7fb73779d0416fe75263f56b5cfc8961fea772fec488fde2a3fcfdbf",
  signed: "0530611752902a71b23f8ec06bacd19bc9e0c2ddece0ecf3f7f6f6fbe5d8fbccb4f5aa89e48066d05548ba2832930e2667001f",
};
const MISSING = 65535;

const number = v => {
  if (v === null || v === undefined || !isFinite(v)) return "-";
  const size = Math.abs(v);
  return size !== 0 && (size < 1e-3 || size >= 1e5) ? v.toExponential(2) : String(Number(v.toPrecision(4)));
};

function element(name, attributes = {}, ...inside) {
  const made = name.startsWith("svg:")
    ? document.createElementNS("http://www.w3.org/2000/svg", name.slice(4)) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...inside);
  return made;
}

function ticks(low, high, most = 6) {
  if (!(high > low)) return [low];
  const raw = (high - low) / most, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map(m => m * power).find(s => s >= raw);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i++) found.push(i * step);
  return found;
}

function decades(low, high, most = 6) { // of logarithms
  const first = Math.ceil(low - 1e-9), last = Math.floor(high + 1e-9), every = Math.max(1, Math.ceil((last - first + 1) / most));
  const found = [];
  for (let k = first; k <= last; k += every) found.push(k);
  return found.length > 1 ? found : ticks(low, high, 4);
}

const powerOfTen = k => Number.isInteger(k) ? `1e${k}` : (10 ** k).toExponential(1);

// Curves of several series over one axis: hover to read, click a name to hide it.
function chart(host, { label, logarithmic = false, name = "curves" }) {
  const width = 900, height = 330, left = 74, right = 14, top = 12, bottom = 44;
  const svg = element("svg:svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": name });
  const legend = element("div", { class: "legend" }), read = element("div", { class: "read" });
  host.append(svg, read, legend);
  const hidden = new Set();
  let series = [], across = label;

  function draw() {
    svg.replaceChildren();
    const value = y => logarithmic ? (y > 0 ? Math.log10(y) : NaN) : y;
    const shown = series.filter(s => !hidden.has(s.name));
    const xs = shown.flatMap(s => s.x), ys = shown.flatMap(s => s.y.map(value)).filter(Number.isFinite);
    if (!ys.length) { read.textContent = "nothing to draw"; return; }
    read.textContent = "";
    const range = values => values.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [Infinity, -Infinity]);
    let [x0, x1] = range(xs), [y0, y1] = range(ys);
    if (x0 === x1) { x0 -= 0.5; x1 += 0.5; }
    if (y1 - y0 < 1e-12 * Math.abs(y1)) { const by = Math.abs(y1) || 1; y0 -= 0.05 * by; y1 += 0.05 * by; }
    const pad = 0.04 * (y1 - y0); y0 -= pad; y1 += pad;
    const px = x => left + (x - x0) / (x1 - x0) * (width - left - right);
    const py = y => height - bottom - (y - y0) / (y1 - y0) * (height - top - bottom);
    const text = (x, y, words, anchor) => element("svg:text", { x, y, "text-anchor": anchor, "font-size": 14, fill: "#444" }, words);
    for (const t of logarithmic ? decades(y0, y1) : ticks(y0, y1)) {
      svg.append(element("svg:line", { x1: left, x2: width - right, y1: py(t), y2: py(t), stroke: "#e4e4e4" }));
      svg.append(text(left - 6, py(t) + 5, logarithmic ? powerOfTen(t) : number(t), "end"));
    }
    for (const t of ticks(x0, x1, 8)) {
      svg.append(element("svg:line", { x1: px(t), x2: px(t), y1: top, y2: height - bottom, stroke: "#f0f0f0" }));
      svg.append(text(px(t), height - bottom + 18, number(t), "middle"));
    }
    svg.append(text((left + width - right) / 2, height - 6, across, "middle"));
    for (const s of shown) {
      let path = "", pen = false;
      s.x.forEach((x, i) => {
        const y = value(s.y[i]);
        if (Number.isFinite(y)) { path += `${pen ? "L" : "M"}${px(x).toFixed(1)} ${py(y).toFixed(1)}`; pen = true; } else pen = false;
      });
      const dash = s.dashed ? { "stroke-dasharray": "7 4" } : {};
      svg.append(element("svg:path", { ...dash, d: path, fill: "none", stroke: s.colour, "stroke-width": s.wide ? 6 : 2, opacity: s.wide ? 0.35 : 1 }));
      if (s.x.length < 40 && !s.wide) s.x.forEach((x, i) => {
        const y = value(s.y[i]);
        if (Number.isFinite(y)) svg.append(element("svg:circle", { cx: px(x), cy: py(y), r: 3, fill: s.colour }));
      });
    }
    const line = element("svg:line", { y1: top, y2: height - bottom, stroke: "#888", visibility: "hidden" });
    svg.append(line);
    svg.onpointermove = event => {
      const box = svg.getBoundingClientRect(), at = (event.clientX - box.left) / box.width * width;
      const x = x0 + (at - left) / (width - left - right) * (x1 - x0);
      if (x < x0 || x > x1) return;
      const words = shown.map(s => {
        let best = -1;
        s.x.forEach((v, i) => { if (best < 0 || Math.abs(v - x) < Math.abs(s.x[best] - x)) best = i; });
        return best < 0 ? "" : [s.x[best], `${s.name} ${number(s.y[best])}`];
      }).filter(Boolean);
      if (!words.length) return;
      line.setAttribute("x1", px(words[0][0])); line.setAttribute("x2", px(words[0][0]));
      line.setAttribute("visibility", "visible");
      read.textContent = `${across} ${number(words[0][0])}: ${words.map(w => w[1]).join(", ")}`;
    };
  }

  return {
    show(newSeries, newAcross = across, log = logarithmic) {
      logarithmic = log; across = newAcross;
      series = newSeries.map((s, i) => ({ ...s, colour: s.colour || COLOURS[i % COLOURS.length] }));
      legend.replaceChildren(...series.map(s => {
        const button = element("button", { type: "button", "aria-pressed": !hidden.has(s.name) }, element("i", { style: `background:${swatch(s)}${s.wide ? ";opacity:.35" : ""}` }), s.name);
        button.onclick = () => {
          hidden.has(s.name) ? hidden.delete(s.name) : hidden.add(s.name);
          button.setAttribute("aria-pressed", !hidden.has(s.name));
          draw();
        };
        return button;
      }));
      draw();
    },
  };
}

function swatch(s) {
  return s.dashed ? `repeating-linear-gradient(90deg, ${s.colour} 0 .35rem, transparent .35rem .55rem)` : s.colour;
}

function choice(words, names, change) {
  const select = element("select", {}, ...names.map(([value, name]) => element("option", { value }, name)));
  select.onchange = () => change(select.value);
  return { label: element("label", {}, words, select), select };
}

function slider(words, count, say, change, first = Math.floor((count - 1) / 2)) {
  const input = element("input", { type: "range", min: 0, max: count - 1, value: first, step: 1 });
  const output = element("output", {}, say(Number(input.value)));
  input.oninput = () => { output.textContent = say(Number(input.value)); change(); };
  return { label: element("label", {}, words, input, output), at: () => Number(input.value) };
}

// Curves of the history: one group of series for each run.
function history(host, runs) {
  const axes = [["step", "steps"], ["seconds", "seconds"], ["evaluations", "evaluations of the residuals"], ["cpu_seconds", "processor seconds"]]
    .filter(([key]) => runs.some(run => run.rows.some(row => row[key] !== undefined)));
  const keys = [...new Set(runs.flatMap(run => Object.keys(run.names)))];
  const controls = element("div", { class: "controls" }), place = element("div");
  host.append(controls, place);
  const drawn = chart(place, { label: "steps", logarithmic: true, name: "history of the run" });
  const names = Object.assign({}, ...runs.map(run => run.names));
  let x = axes[0][0], key = runs.length > 1 ? ["relative_l2", "psnr_heldout", "psnr"].find(k => keys[0] === "loss" && keys.includes(k)) || keys[0] : "", log = true;
  const lines = (run, k, title) => {
    const rows = run.rows.filter(row => Number.isFinite(row[x]) && Number.isFinite(row[k]));
    return { name: title, x: rows.map(row => row[x]), y: rows.map(row => row[k]) };
  };
  const first = keys.filter(k => k === "loss" || k === "relative_l2" || k.startsWith("rms/"));
  const upward = k => /^(psnr|snr|ssim|iou|matthews|unknown)/.test(k); // drawn on a linear scale
  const update = () => {
    const together = first.flatMap((k, i) => [k, k.replace("rms/", "heldout/")].filter((m, j) => keys.includes(m) && (!j || m !== k))
      .map((m, j) => ({ ...lines(runs[0], m, names[m]), colour: COLOURS[i % COLOURS.length], dashed: j > 0 })));
    const series = key ? runs.map(run => lines(run, key, run.name)) : together;
    drawn.show(series.filter(s => s.x.length), axes.find(a => a[0] === x)[1], log && !upward(key));
  };
  controls.append(choice("over", axes, value => { x = value; update(); }).label);
  const alone = runs.length > 1 ? [] : [["", "loss, residuals and errors"]];
  const rest = runs.length > 1 ? keys : keys.filter(k => !first.includes(k) && !first.includes(k.replace("heldout/", "rms/")));
  const which = choice("show", [...alone, ...rest.map(k => [k, names[k]])], value => { key = value; update(); });
  which.select.value = key;
  if (alone.length + rest.length > 1) controls.append(which.label);
  controls.append(choice("scale", [["log", "logarithmic"], ["", "linear"]], value => { log = Boolean(value); update(); }).label);
  update();
}

function unpack(quantity) {
  const bytes = Uint8Array.from(atob(quantity.data), c => c.charCodeAt(0));
  if (quantity.colours === "rgb") return bytes;
  return new Uint16Array(bytes.buffer);
}

// Maps over two coordinates, or curves over one, with sliders for the others.
function explore(host, given) {
  const { axes, sliders, quantities } = given;
  const byName = Object.fromEntries(quantities.map(q => [q.name, q]));
  for (const q of quantities) q.steps = unpack(q);
  const root = q => byName[q.like] || q;
  const value = (q, i) => q.steps[i] === MISSING ? NaN : q.low + q.steps[i] / (MISSING - 1) * (q.high - q.low);
  const sizes = axes.map(a => a.values.length), per = sizes.reduce((a, b) => a * b, 1);
  const controls = element("div", { class: "controls" });
  host.append(controls);
  let update = () => {};
  const moved = sliders.map(s => slider(s.name, s.values.length, i => s.labels.length ? s.labels[i] : number(s.values[i]), () => update()));
  controls.append(...moved.map(m => m.label));
  const start = () => per * moved.reduce((index, m, i) => index * sliders[i].values.length + m.at(), 0);
  const updates = [];
  update = () => updates.forEach(f => f());
  if (given.inputs && given.inputs.name) {
    const place = element("div");
    host.append(element("h3", {}, `Input ${given.inputs.name}`), place);
    const drawn = chart(place, { label: given.inputs.over, name: "input function" });
    updates.push(() => drawn.show([{ name: given.inputs.name, x: given.inputs.at, y: given.inputs.values[moved[0].at()] }]));
  }
  axes.length === 1 ? curves() : maps();
  update();

  function curves() {
    const kinds = { values: "Solution", error: "Errors", log: "Residuals" };
    for (const [kind, title] of Object.entries(kinds)) {
      const own = quantities.filter(q => q.colours === kind);
      if (!own.length) continue;
      const place = element("div");
      host.append(element("h3", {}, title), place);
      const drawn = chart(place, { label: axes[0].name, logarithmic: kind !== "values", name: title });
      updates.push(() => drawn.show(own.map((q, i) => {
        const from = start(), y = axes[0].values.map((_, j) => value(q, from + j));
        return { name: q.name, x: axes[0].values, y: kind === "log" ? y.map(v => 10 ** v) : y, wide: Boolean(q.like), colour: q.like ? "#000000" : undefined };
      })));
    }
  }

  function maps() {
    const boxes = element("div", { class: "maps" }), cursor = { i: Math.floor(sizes[0] / 2), j: Math.floor(sizes[1] / 2) };
    host.append(boxes);
    const names = quantities.map(q => [q.name, q.name]);
    const second = quantities.find(q => q.colours === "error") || quantities.find(q => q.colours === "log") || quantities[1];
    const panels = [quantities[0], second].filter(Boolean).map(q => {
      const canvas = element("canvas", { role: "img" }), read = element("div", { class: "read" });
      const pick = choice("show", names, value => { panel.q = byName[value]; draw(); });
      pick.select.value = q.name;
      boxes.append(element("div", {}, element("div", { class: "controls" }, pick.label), canvas, read));
      const panel = { q, canvas, read };
      return panel;
    });
    const before = given.image && quantities.find(q => q.like === quantities[0].name && q.colours === quantities[0].colours);
    if (before) { // of an image and its truth, each on its side of a line
      const say = column => `${quantities[0].name} | ${before.name} from ${column}`;
      const edge = slider("compare", sizes[0] + 1, say, () => draw());
      panels[0].wipe = { q: before, at: edge.at };
      boxes.firstChild.firstChild.append(edge.label);
    }
    const cutAt = slider(`cut at ${axes[0].name} =`, sizes[0], i => number(axes[0].values[i]), () => draw());
    const cutPlace = element("div");
    if (root(quantities[0]).colours !== "rgb") host.append(element("div", { class: "controls" }, cutAt.label), cutPlace);
    const cut = chart(cutPlace, { label: axes[1].name, name: "values along the cut" });
    const draw = () => {
      panels.forEach(panel => paint(panel, cursor, cutAt.at()));
      const base = root(panels[0].q);
      if (base.colours === "rgb") return;
      const together = panels[0].q.colours === "values" ? quantities.filter(q => q.colours === "values" && root(q) === base) : [panels[0].q];
      const from = start() + cutAt.at() * sizes[1], log = panels[0].q.colours === "log";
      cut.show(together.map(q => {
        const y = axes[1].values.map((_, j) => value(q, from + j));
        return { name: q.name, x: axes[1].values, y: log ? y.map(v => 10 ** v) : y, wide: Boolean(q.like) && together.length === 2, colour: q.like && together.length === 2 ? "#000000" : undefined };
      }), axes[1].name, log);
    };
    updates.push(draw);
    window.addEventListener("resize", draw);
  }

  function scale(q) {
    let { low, high } = q;
    if (q.colours === "log") return { low, high, colours: "error" };
    for (const other of quantities) if (root(other) === root(q) && other.colours === q.colours) { low = Math.min(low, other.low); high = Math.max(high, other.high); }
    if (q.colours === "error") return { low: Math.min(0, low), high, colours: "error" };
    const most = Math.max(Math.abs(low), Math.abs(high)) || 1;
    if (Math.min(-low, high) > 0.05 * most) return { low: -most, high: most, colours: "signed" };
    return { low, high, colours: "values" };
  }

  function paint(panel, cursor, cutColumn) {
    const { q, canvas, read, wipe } = panel, ratio = window.devicePixelRatio || 1;
    const [nx, ny] = sizes, left = 58, bottom = 44, top = 8, bar = 74;
    const width = canvas.parentElement.clientWidth || 440;
    const spans = axes.map(a => Math.abs(a.values.at(-1) - a.values[0]) || 1), timed = /^(t|time)$/.test(axes[0].name);
    const shape = timed ? 0.75 : Math.min(1.3, Math.max(0.35, spans[1] / spans[0]));
    const w = width - left - bar - 8, h = w * shape, height = h + top + bottom;
    canvas.width = width * ratio; canvas.height = height * ratio;
    canvas.style.width = `${width}px`; canvas.style.height = `${height}px`;
    canvas.setAttribute("aria-label", `${q.name} over ${axes[0].name} and ${axes[1].name}`);
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    const from = start(), rgb = q.colours === "rgb", { low, high, colours } = rgb ? {} : scale(q);
    const table = rgb ? [] : SCALES[colours].match(/.{6}/g).map(c => [0, 2, 4].map(k => parseInt(c.slice(k, k + 2), 16)));
    const tint = share => {
      const at = Math.min(0.999999, Math.max(0, share)) * (table.length - 1), k = Math.floor(at);
      return table[k].map((c, i) => c + (at - k) * (table[k + 1][i] - c));
    };
    const edge = wipe && q === quantities[0] ? wipe.at() : nx, seen = i => i < edge ? q : wipe.q;
    const pixels = new ImageData(nx, ny);
    for (let i = 0; i < nx; i++) for (let j = 0; j < ny; j++) {
      const row = given.image ? j : ny - 1 - j, at = from + i * ny + j, to = 4 * (row * nx + i);
      if (!rgb && seen(i).steps[at] === MISSING) continue;
      const colour = rgb ? [0, 1, 2].map(k => seen(i).steps[3 * at + k]) : tint((value(seen(i), at) - low) / (high - low || 1));
      pixels.data.set([...colour.map(Math.round), 255], to);
    }
    const small = new OffscreenCanvas(nx, ny);
    small.getContext("2d").putImageData(pixels, 0, 0);
    pen.imageSmoothingEnabled = false;
    pen.drawImage(small, left, top, w, h);
    pen.strokeStyle = "#888"; pen.strokeRect(left, top, w, h);
    pen.fillStyle = "#444"; pen.font = "12px system-ui, sans-serif";
    const [x0, x1] = [axes[0].values[0], axes[0].values.at(-1)], [y0, y1] = [axes[1].values[0], axes[1].values.at(-1)];
    const px = x => left + (x - x0) / (x1 - x0 || 1) * w;
    const py = y => given.image ? top + (y - y0) / (y1 - y0 || 1) * h : top + h - (y - y0) / (y1 - y0 || 1) * h;
    pen.textAlign = "center";
    for (const t of ticks(Math.min(x0, x1), Math.max(x0, x1), 5)) pen.fillText(number(t), px(t), top + h + 16);
    pen.fillText(axes[0].name, left + w / 2, top + h + 34);
    pen.textAlign = "right";
    for (const t of ticks(Math.min(y0, y1), Math.max(y0, y1), 5)) pen.fillText(number(t), left - 5, py(t) + 4);
    pen.save(); pen.translate(13, top + h / 2); pen.rotate(-Math.PI / 2); pen.textAlign = "center"; pen.fillText(axes[1].name, 0, 0); pen.restore();
    if (!rgb) { // the scale
      const x = left + w + 10;
      for (let k = 0; k < 128; k++) { pen.fillStyle = `rgb(${tint(k / 127).map(Math.round)})`; pen.fillRect(x, top + h - (k + 1) / 128 * h, 12, h / 128 + 0.6); }
      pen.fillStyle = "#444"; pen.textAlign = "left";
      const marks = q.colours === "log" ? decades(low, high) : ticks(low, high, 5);
      for (const t of marks) pen.fillText(q.colours === "log" ? powerOfTen(t) : number(t), x + 16, top + h - (t - low) / (high - low || 1) * h + 4);
    }
    if (root(quantities[0]).colours === "rgb") cutColumn = NaN;
    const cx = left + (cutColumn + 0.5) / nx * w;
    pen.strokeStyle = "#fff"; pen.lineWidth = 3; pen.beginPath(); pen.moveTo(cx, top); pen.lineTo(cx, top + h); pen.stroke();
    pen.strokeStyle = "#222"; pen.lineWidth = 1; pen.setLineDash([4, 3]); pen.stroke(); pen.setLineDash([]);
    if (edge < nx) { pen.beginPath(); pen.moveTo(left + edge / nx * w, top); pen.lineTo(left + edge / nx * w, top + h); pen.lineWidth = 2; pen.strokeStyle = "#d55e00"; pen.stroke(); }
    canvas.onpointermove = event => {
      const box = canvas.getBoundingClientRect();
      const i = Math.floor((event.clientX - box.left - left) / w * nx), up = Math.floor((event.clientY - box.top - top) / h * ny);
      if (i < 0 || i >= nx || up < 0 || up >= ny) return;
      cursor.i = i; cursor.j = given.image ? up : ny - 1 - up;
      const at = start() + i * ny + cursor.j;
      const say = rgb ? `rgb ${[0, 1, 2].map(k => seen(i).steps[3 * at + k]).join(" ")}` : q.colours === "log" ? number(10 ** value(q, at)) : number(value(seen(i), at));
      read.textContent = `${axes[0].name} ${number(axes[0].values[i])}, ${axes[1].name} ${number(axes[1].values[cursor.j])}: ${seen(i).name} ${say}`;
    };
  }
}

const given = JSON.parse(document.getElementById("data").textContent);
for (const { id, runs } of given.histories) history(document.getElementById(id), runs);
if (given.explorer) explore(document.getElementById("explore"), given.explorer);
