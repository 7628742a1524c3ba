"use strict";
document.documentElement.classList.add("scripted");

// Bokeh draws on a canvas, out of reach of style sheets: set its colours here, again on a change.
function dress() {
  const style = getComputedStyle(document.documentElement);
  const font = getComputedStyle(document.body).fontFamily;
  const [ink, quiet, axis, grid] = ["--ink", "--quiet", "--axis", "--grid"].map((name) =>
    style.getPropertyValue(name).trim(),
  );
  const documents = globalThis.Bokeh?.documents ?? []; // a page without plots has no Bokeh
  for (const model of documents.flatMap((each) => [...each.all_models])) {
    if (model.type === "LinearAxis") {
      model.setv({
        axis_label_text_font: font, major_label_text_font: font,
        axis_label_text_color: ink, major_label_text_color: quiet,
        axis_line_color: axis, major_tick_line_color: axis,
      });
    } else if (model.type === "Title") {
      model.setv({ text_color: ink, text_font: font });
    } else if (model.type === "Grid" && model.grid_line_color !== null) {
      model.setv({ grid_line_color: grid });
    } else if (model.tags.includes("ink") || model.name?.startsWith("cursor-")) {
      const lines = model.glyph ?? model;
      lines.setv({ line_color: ink });
    }
  }
}

// Bokeh's boxes are tab stops without name or function.
function unstop(root) {
  for (const each of root.querySelectorAll("*")) {
    if (each.tabIndex >= 0) each.tabIndex = -1;
    if (each.shadowRoot) unstop(each.shadowRoot);
  }
}

// The map. The script of the plot calls `ppvae.move`.
const ppvae = {};

function latentMap(held) {
  const find = (id) => document.getElementById(id);
  const named = (name) =>
    Bokeh.documents.map((each) => each.get_model_by_name(name)).find((model) => model !== null);
  const isPictures = held.height > 0;
  const place = { x: 0, y: 0 };
  let plane = held.planes[0];
  let chosen = -1;
  const stepOf = (k, count) => (plane.high[k] - plane.low[k]) / Math.max(count - 1, 1);
  // Enough decimals to distinguish two steps of the cross; never -0.00.
  const digits = () => Math.min(12, Math.max(2, Math.ceil(0.5 - Math.log10(stepOf(0, plane.columns)))));
  const minus = (text) => text.replace(/^-(?=[0.]*$)/, "").replace("-", "\u2212");

  const floats = (text) =>
    new Float32Array(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
  const picture = (uri) => {
    const image = new Image();
    image.addEventListener("load", refresh);
    image.src = uri;
    return image;
  };
  const read = (content) => (isPictures ? picture(content) : floats(content));
  const decoded = held.planes.map((each) =>
    each.decoded === undefined ? find("map-decoded") : read(each.decoded),
  );
  const originals = read(held.originals);
  const greys = held.greys && read(held.greys);

  const corner = (index, across) => [(index % across) * held.width, Math.floor(index / across) * held.height];

  function show(what, source, index, across) {
    const { width, height } = held;
    if (!isPictures) {
      const value = [...source.slice(index * width, (index + 1) * width)];
      if (held.columns.length) return list(what, value);
      named(what).data = { column: value.map((_, i) => i), value };
      return;
    }
    if (!source.complete) return;
    const canvas = find(`map-canvas-${what}`);
    [canvas.width, canvas.height] = [width, height];
    canvas.getContext("2d").drawImage(source, ...corner(index, across), width, height, 0, 0, width, height);
    canvas.dataset.tile = index;
  }

  function list(what, values) {
    values.forEach((value, i) => {
      const { levels } = held.columns[i];
      const text = levels.length
        ? levels[Math.min(Math.max(Math.round(value), 0), levels.length - 1)]
        : minus(Math.abs(value) >= 1000 ? value.toFixed(0) : String(Number(value.toPrecision(4))));
      find(`map-${what}-${i}`).textContent = Number.isNaN(value) ? "\u2013" : text;
    });
  }

  const off = new Set(); // entries of the legend that are not shown
  const isShown = (i) => !off.has(held.places[i]);

  function nearest(x, y) {
    let [best, least] = [-1, Infinity];
    plane.x.forEach((a, i) => {
      const far = (a - x) ** 2 + (plane.axes[1] ? (plane.y[i] - y) ** 2 : 0);
      if (far < least && isShown(i)) [best, least] = [i, far];
    });
    return best;
  }

  const told = (i) =>
    `row ${held.numbers[i]} of ${held.source} (counted from 0)` +
    `${held.names.length ? `, named ${held.names[i]}` : ""}${held.labels[i] ? `, label ${held.labels[i]}` : ""}`;

  const node = (value, k, count) =>
    Math.round(((value - plane.low[k]) / (plane.high[k] - plane.low[k])) * (count - 1));

  ppvae.move = (x, y) => {
    if (!Number.isFinite(x) || !Number.isFinite(y)) return;
    place.x = Math.min(Math.max(x, plane.low[0]), plane.high[0]);
    place.y = Math.min(Math.max(y, plane.low[1]), plane.high[1]);
    named("cursor-x").location = place.x;
    named("cursor-y").location = place.y;
    named("cursor").data = { x: [place.x], y: [place.y] };
    const where = [place.x, place.y]
      .map((value, k) => (plane.axes[k] ? `${plane.axes[k]} ${minus(value.toFixed(digits()))}` : ""))
      .filter(Boolean)
      .join(", ");
    chosen = nearest(place.x, place.y);
    find("map-where").textContent = `Cross at ${where}.`;
    find("map-which").textContent = `In the ring, the nearest: ${told(chosen)}.`;
    if (isPictures) {
      find("map-canvas-decoded").setAttribute("aria-label", `Decoded at ${where}`);
      find("map-canvas-original").setAttribute("aria-label", `The datum: ${told(chosen)}`);
    }
    ring();
    refresh();
  };

  function refresh() {
    if (chosen < 0) return;
    const [column, row] = [node(place.x, 0, plane.columns), plane.rows - 1 - node(place.y, 1, plane.rows)];
    show("decoded", decoded[held.planes.indexOf(plane)], row * plane.columns + column, plane.columns);
    show("original", originals, chosen, held.across);
    if (greys) show("grey", greys, chosen, held.across);
    backdrop();
  }

  // The ring around the nearest datum, and q(z | x) of it at one and two standard deviations.
  function ring() {
    const [x, y, [a, b, angle]] = [plane.x[chosen], plane.y[chosen], plane.ellipses[chosen]];
    named("chosen").data = { x: [x], y: [y] };
    named("ellipses").data = a > 0
      ? { x: [x, x], y: [y, y], width: [2 * a, 4 * a], height: [2 * b, 4 * b], angle: [angle, angle] }
      : { x: [], y: [], width: [], height: [], angle: [] };
  }

  // Behind the points: pictures of data where there is room, or decoded pictures.
  let painted = "";
  function backdrop() {
    const choice = find("map-behind")?.value ?? "nothing";
    const key = `${choice} ${held.planes.indexOf(plane)} ${[...off].sort()}`;
    const source = choice === "data" ? originals : decoded[held.planes.indexOf(plane)];
    if (key === painted || (choice !== "nothing" && !source.complete)) return;
    painted = key;
    const behind = { url: [], x: [], y: [], w: [], h: [] };
    if (choice !== "nothing") {
      const [[left, bottom], [right, top]] = [plane.low, plane.high];
      const cells = choice === "data" ? 15 : plane.columns;
      const up = choice === "data" ? 15 : plane.rows;
      const canvas = document.createElement("canvas");
      const side = Math.max(held.width, Math.ceil(900 / cells));
      [canvas.width, canvas.height] = [cells * side, up * Math.round((side * held.height) / held.width)];
      const pen = canvas.getContext("2d");
      pen.imageSmoothingEnabled = false;
      const [wide, high] = [canvas.width / cells, canvas.height / up];
      const put = (index, across, c, r) =>
        pen.drawImage(source, ...corner(index, across), held.width, held.height, c * wide, r * high, wide, high);
      if (choice === "decoded") {
        for (let i = 0; i < cells * up; i++) put(i, cells, i % cells, Math.floor(i / cells));
      } else {
        const taken = new Set();
        plane.x.forEach((x, i) => {
          const c = Math.floor(((x - left) / (right - left)) * cells);
          const r = Math.floor(((top - plane.y[i]) / (top - bottom)) * up);
          if (!isShown(i) || c < 0 || r < 0 || c >= cells || r >= up || taken.has(c + r * cells)) return;
          taken.add(c + r * cells);
          put(i, held.across, c, r);
        });
      }
      // The decoder's pictures are centred on the nodes of the grid, whose ends are at the edges.
      const margin = choice === "decoded" ? [0, 1].map((k) => stepOf(k, k ? plane.rows : plane.columns) / 2) : [0, 0];
      Object.assign(behind, {
        url: [canvas.toDataURL()], x: [left - margin[0]], y: [top + margin[1]],
        w: [right - left + 2 * margin[0]], h: [top - bottom + 2 * margin[1]],
      });
    }
    named("behind").data = behind;
  }

  function points() {
    const rows = held.labels.map((_, i) => i).filter(isShown);
    const of = (values) => rows.map((i) => values[i]);
    named("points").data = { x: of(plane.x), y: of(plane.y), colour: of(held.colours), marker: of(held.markers) };
  }

  const middle = () => ppvae.move((plane.low[0] + plane.high[0]) / 2, (plane.low[1] + plane.high[1]) / 2);

  find("map-axes")?.addEventListener("change", (event) => {
    plane = held.planes[event.target.selectedIndex];
    const figure = named("map");
    [figure.x_range, figure.y_range].forEach((range, k) =>
      range.setv({ start: plane.frame[0][k], end: plane.frame[1][k] }),
    );
    [figure.below[0], figure.left[0]].forEach((axis, k) => { axis.axis_label = plane.axes[k]; });
    find("map-sentence").textContent = plane.sentence;
    points();
    middle();
  });
  find("map-behind")?.addEventListener("change", backdrop);

  // The legend: the first class that is pressed is shown alone, others join it or leave.
  const keys = [...document.querySelectorAll("#map [data-class]")];
  keys.forEach((key) =>
    key.addEventListener("click", () => {
      const own = Number(key.dataset.class);
      const all = keys.map((each) => Number(each.dataset.class));
      if (!off.size) all.forEach((each) => { if (each !== own) off.add(each); });
      else if (!off.delete(own)) off.add(own);
      if (off.size === all.length) off.clear();
      keys.forEach((each) => each.setAttribute("aria-pressed", !off.has(Number(each.dataset.class))));
      points();
      ppvae.move(place.x, place.y);
    }),
  );

  const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowDown: [0, -1], ArrowUp: [0, 1] };
  find("map-plane").addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return; // the browser's own
    const step = steps[event.key];
    if (step) {
      const far = event.shiftKey ? 5 : 1;
      ppvae.move(
        place.x + far * step[0] * stepOf(0, plane.columns), place.y + far * step[1] * stepOf(1, plane.rows),
      );
    } else if (event.key === "Home") {
      middle();
    } else {
      return;
    }
    event.preventDefault();
  });
  if (isPictures && !decoded[0].complete) decoded[0].addEventListener("load", refresh);
  middle();
}

// Sections fold and unfold; the target of a link is open.
function unfold() {
  const section = document.getElementById(location.hash.slice(1));
  section?.querySelectorAll(":scope > details").forEach((each) => { each.open = true; });
}
addEventListener("hashchange", unfold);

// The side navigation marks the section being read.
function follow() {
  const links = new Map(
    [...document.querySelectorAll("nav a")].map((link) => [link.hash.slice(1), link]),
  );
  const watch = new IntersectionObserver(
    (entries) =>
      entries.forEach((each) => {
        const link = links.get(each.target.id);
        if (each.isIntersecting) link?.setAttribute("aria-current", "true");
        else link?.removeAttribute("aria-current");
      }),
    { rootMargin: "-30% 0px -60% 0px" },
  );
  document.querySelectorAll("main > section").forEach((each) => watch.observe(each));
}

const plots = [...document.querySelectorAll("script[data-plot]")].map((script) =>
  Bokeh.embed.embed_item(JSON.parse(script.textContent)),
);
unfold();
follow();
Promise.all(plots).then(() => {
  dress();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", dress);
  const held = document.getElementById("map-data");
  if (held) latentMap(JSON.parse(held.textContent));
  document.querySelectorAll(".plot").forEach(unstop);
  // Print shows everything.
  let closed = [];
  addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details:not([open])")];
    closed.forEach((each) => { each.open = true; });
  });
  addEventListener("afterprint", () => closed.forEach((each) => { each.open = false; }));
  document.documentElement.dataset.ready = "";
});
