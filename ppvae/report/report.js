"use strict";
document.documentElement.classList.add("scripted");

// Bokeh draws on a canvas, which no style sheet reaches: its colours are told, and told again.
function dress() {
  const style = getComputedStyle(document.documentElement);
  const [ink, quiet, axis, grid] = ["--ink", "--quiet", "--axis", "--grid"].map((name) =>
    style.getPropertyValue(name).trim(),
  );
  for (const model of Bokeh.documents.flatMap((each) => [...each.all_models])) {
    if (model.type === "LinearAxis") {
      model.setv({
        axis_label_text_color: ink, major_label_text_color: quiet,
        axis_line_color: axis, major_tick_line_color: axis,
      });
    } else if (model.type === "Title") {
      model.setv({ text_color: ink });
    } else if (model.type === "Grid" && model.grid_line_color !== null) {
      model.setv({ grid_line_color: grid });
    } else if (model.tags.includes("ink") || model.name?.startsWith("cursor-")) {
      const lines = model.glyph ?? model;
      lines.setv({ line_color: ink });
    }
  }
}

// Bokeh's boxes are stops of the tab key that have no name and do nothing there.
function unstop(root) {
  for (const each of root.querySelectorAll("*")) {
    if (each.tabIndex >= 0) each.tabIndex = -1;
    if (each.shadowRoot) unstop(each.shadowRoot);
  }
}

// The map. What the plot's own script calls is `ppvae.move` and `ppvae.choose`.
const ppvae = {};

function latentMap(held) {
  const find = (id) => document.getElementById(id);
  const named = (name) =>
    Bokeh.documents.map((each) => each.get_model_by_name(name)).find((model) => model !== null);
  const isPictures = held.height > 0;
  const stepOf = (k, count) => (held.high[k] - held.low[k]) / Math.max(count - 1, 1);
  // As many decimals as tell one step of the cross from the next; nothing is written as -0.00.
  const digits = Math.min(12, Math.max(2, Math.ceil(0.5 - Math.log10(stepOf(0, held.columns)))));
  const minus = (value) => value.toFixed(digits).replace(/^-(?=[0.]*$)/, "").replace("-", "\u2212");
  const place = { x: 0, y: 0 };
  let chosen = -1;

  const floats = (text) =>
    new Float32Array(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
  const decoded = isPictures ? find("map-decoded") : floats(held.decoded);
  let originals;
  if (isPictures) {
    originals = new Image();
    originals.addEventListener("load", () => show("original", originals, chosen, held.across));
    originals.src = held.originals;
  } else {
    originals = floats(held.originals);
  }

  function show(what, source, index, across) {
    if (index < 0) return;
    const { width, height } = held;
    if (!isPictures) {
      const value = [...source.slice(index * width, (index + 1) * width)];
      named(what).data = { column: value.map((_, i) => i), value };
      return;
    }
    if (!source.complete) return;
    const canvas = find(`map-canvas-${what}`);
    [canvas.width, canvas.height] = [width, height];
    const [left, top] = [(index % across) * width, Math.floor(index / across) * height];
    canvas.getContext("2d").drawImage(source, left, top, width, height, 0, 0, width, height);
    canvas.dataset.tile = index;
  }

  function nearest(x, y) {
    let [best, least] = [0, Infinity];
    held.x.forEach((a, i) => {
      const far = (a - x) ** 2 + (held.axes[1] ? (held.y[i] - y) ** 2 : 0);
      if (far < least) [best, least] = [i, far];
    });
    return best;
  }

  const told = (i) =>
    `row ${held.numbers[i]} (counted from 0) of the ${held.data} data` + (held.labels[i] ? `, label ${held.labels[i]}` : "");

  const node = (value, k, count) =>
    Math.round(((value - held.low[k]) / (held.high[k] - held.low[k])) * (count - 1));

  ppvae.move = (x, y) => {
    if (!Number.isFinite(x) || !Number.isFinite(y)) return;
    place.x = Math.min(Math.max(x, held.low[0]), held.high[0]);
    place.y = Math.min(Math.max(y, held.low[1]), held.high[1]);
    named("cursor-x").location = place.x;
    named("cursor-y").location = place.y;
    named("cursor").data = { x: [place.x], y: [place.y] };
    const [column, row] = [node(place.x, 0, held.columns), held.rows - 1 - node(place.y, 1, held.rows)];
    show("decoded", decoded, row * held.columns + column, held.columns);
    const where = [place.x, place.y]
      .map((value, k) => (held.axes[k] ? `${held.axes[k]} ${minus(value)}` : ""))
      .filter(Boolean)
      .join(", ");
    find("map-where").textContent = `Cross at ${where}. Nearest: ${told(nearest(place.x, place.y))}.`;
    if (isPictures) find("map-canvas-decoded").setAttribute("aria-label", `What is decoded at ${where}`);
  };

  ppvae.choose = (x, y) => {
    chosen = nearest(x, y);
    named("chosen").data = { x: [held.x[chosen]], y: [held.y[chosen]] };
    show("original", originals, chosen, held.across);
    find("map-which").textContent = `In the ring: ${told(chosen)}.`;
    if (isPictures) find("map-canvas-original").setAttribute("aria-label", `The datum: ${told(chosen)}`);
  };

  const middle = () => ppvae.move((held.low[0] + held.high[0]) / 2, (held.low[1] + held.high[1]) / 2);
  const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowDown: [0, -1], ArrowUp: [0, 1] };
  find("map-plane").addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return; // the browser's own
    const step = steps[event.key];
    if (step) {
      const far = event.shiftKey ? 5 : 1;
      ppvae.move(
        place.x + far * step[0] * stepOf(0, held.columns), place.y + far * step[1] * stepOf(1, held.rows),
      );
    } else if (event.key === "Home") {
      middle();
    } else if (event.key === "Enter" || event.key === " ") {
      ppvae.choose(place.x, place.y);
    } else {
      return;
    }
    event.preventDefault();
  });
  if (isPictures && !decoded.complete) decoded.addEventListener("load", middle);
  middle();
  ppvae.choose(place.x, place.y);
}

const plots = [...document.querySelectorAll("script[data-plot]")].map((script) =>
  Bokeh.embed.embed_item(JSON.parse(script.textContent)),
);
Promise.all(plots).then(() => {
  dress();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", dress);
  const held = document.getElementById("map-data");
  if (held) latentMap(JSON.parse(held.textContent));
  document.querySelectorAll(".plot").forEach(unstop);
  // Paper shows all there is.
  let closed = [];
  addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details:not([open])")];
    closed.forEach((each) => { each.open = true; });
  });
  addEventListener("afterprint", () => closed.forEach((each) => { each.open = false; }));
  document.documentElement.dataset.ready = "";
});
