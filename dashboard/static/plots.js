"use strict";
// Draws the figures of a page with plotly, once they come near the screen, in the colours of the theme.
(() => {
  const source = document.currentScript.dataset.plotly;
  const boxes = [...document.querySelectorAll("[data-plot]")];
  if (boxes.length === 0) return;

  const NARROW_CELL = 34; // px; a number does not fit into less
  const drawn = new Set();
  let loading = null;

  const plotly = () => {
    loading ??= new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = source;
      script.onload = () => resolve(window.Plotly);
      script.onerror = () => reject(new Error("plotly"));
      document.head.append(script);
    });
    return loading;
  };

  const hatch = (colour) => {
    const svg =
      '<svg xmlns="http://www.w3.org/2000/svg">' +
      '<defs><pattern id="h" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">' +
      `<rect width="1.25" height="6" fill="${colour}"/></pattern></defs>` +
      '<rect width="100%" height="100%" fill="url(#h)"/></svg>';
    return `data:image/svg+xml,${encodeURIComponent(svg)}`;
  };

  const colours = () => {
    const style = getComputedStyle(document.documentElement);
    const value = (name) => style.getPropertyValue(`--plot-${name}`).trim();
    const part = (hex, strength) => {
      const [r, g, b] = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
      return `rgba(${r},${g},${b},${strength})`;
    };
    return (role) => {
      const [name, strength] = role.slice(1).split("/");
      if (name === "font") return getComputedStyle(document.body).fontFamily;
      if (name === "hatch") return hatch(value("hatch"));
      const found = value(name);
      if (strength) return part(found, strength);
      if (!found.includes(",")) return found;
      const stops = found.split(",").map((stop) => stop.trim());
      return stops.map((stop, place) => [place / (stops.length - 1), stop]);
    };
  };

  const painted = (thing, colour) => {
    if (typeof thing === "string") return thing.startsWith("@") ? colour(thing) : thing;
    if (Array.isArray(thing)) return thing.map((each) => painted(each, colour));
    if (thing === null || typeof thing !== "object") return thing;
    return Object.fromEntries(
      Object.entries(thing).map(([key, value]) => [key, painted(value, colour)]),
    );
  };

  const channels = (text) => {
    const found = text.startsWith("#")
      ? [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16))
      : text.match(/[\d.]+/g).map(Number);
    return found.slice(0, 3);
  };

  const luminance = (rgb) => {
    const [r, g, b] = rgb.map((each) => {
      const part = each / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };

  const between = (stops, place) => {
    const at = Math.min(Math.max(place, 0), 1);
    const next = Math.max(1, stops.findIndex(([start]) => start >= at));
    const [[from, low], [to, high]] = [stops[next - 1], stops[next]];
    const part = (at - from) / (to - from);
    const [one, other] = [channels(low), channels(high)];
    return one.map((each, channel) => each + part * (other[channel] - each));
  };

  // Numbers in cells: dark ink on light cells and light ink on dark ones, whichever is told apart better.
  const numbers = (trace, axis) => {
    const inks = ["#10141a", "#ffffff"].map((ink) => ({ ink, light: luminance(channels(ink)), x: [], y: [], text: [] }));
    const contrast = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    trace.z.forEach((row, down) =>
      row.forEach((value, across) => {
        if (value === null) return;
        const ground = luminance(between(axis.colorscale, (value - axis.cmin) / (axis.cmax - axis.cmin)));
        const best = inks.reduce((a, b) => (contrast(a.light, ground) >= contrast(b.light, ground) ? a : b));
        best.x.push(trace.x[across]);
        best.y.push(trace.y[down]);
        best.text.push(trace.text[down][across]);
      }),
    );
    return inks.map(({ ink, x, y, text }) => ({
      type: "scatter", mode: "text", x, y, text, textfont: { color: ink, size: 12 }, hoverinfo: "skip",
    }));
  };

  // a wall screen has larger letters
  const grown = (thing, times) => {
    if (thing === null || typeof thing !== "object") return;
    for (const [key, value] of Object.entries(thing)) {
      if (/font$/.test(key) && value && typeof value.size === "number") value.size *= times;
      else grown(value, times);
    }
  };

  // names cut to their beginnings, or to their ends where the beginnings are the same
  const cut = (names, most) => {
    const heads = names.map((name) => (name.length > most ? `${name.slice(0, most - 1)}…` : name));
    if (new Set(heads).size === new Set(names).size) return heads;
    return names.map((name) => (name.length > most ? `…${name.slice(1 - most)}` : name));
  };

  // What does not fit on a small screen is left out: numbers in cells, every second name, the key of colours.
  const fitted = (figure, width) => {
    const { data, layout } = figure;
    const small = width < 480;
    const across = (trace) => (width - 120) / trace.x.length;
    const written = data.filter((trace) => trace.type === "heatmap" && trace.texttemplate);
    for (const trace of written) {
      if (across(trace) < NARROW_CELL) delete trace.texttemplate;
      else if (trace.coloraxis) {
        data.push(...numbers(trace, layout.coloraxis));
        delete trace.texttemplate;
      }
    }
    for (const name of ["xaxis", "yaxis"]) {
      const axis = layout[name];
      if (axis?.type !== "category" || !axis.ticktext) continue;
      if (small) axis.ticktext = cut(axis.ticktext, 13);
      if (name === "yaxis") continue;
      const each = (width - 120) / axis.ticktext.length;
      const room = Math.floor(each / 6.8) - 1;
      const long = Math.max(...axis.ticktext.map((text) => text.length));
      if (axis.tickangle === 0 && long > Math.max(room, 6) && room >= 9) {
        axis.ticktext = cut(axis.ticktext, room);
      } else if (axis.tickangle === 0 && long > 6 && long > room) {
        axis.tickangle = -45;
      }
      const longest = Math.max(...axis.ticktext.map((text) => text.length)) * 6.5 + 6;
      const needs = axis.tickangle === 0 ? longest : 16;
      const step = Math.ceil(needs / each);
      axis.tickvals = axis.tickvals.filter((_, place) => place % step === 0);
      axis.ticktext = axis.ticktext.filter((_, place) => place % step === 0);
    }
    if (small && layout.coloraxis) layout.coloraxis.showscale = false;
    return figure;
  };

  const draw = async (box) => {
    const canvas = box.querySelector(".canvas");
    const raw = JSON.parse(box.querySelector('script[type="application/json"]').textContent);
    const library = await plotly();
    const figure = fitted(painted(raw, colours()), canvas.clientWidth);
    grown(figure, parseFloat(getComputedStyle(document.documentElement).fontSize) / 15);
    figure.layout.height = Number(box.dataset.height);
    figure.layout.width = canvas.clientWidth;
    await library.react(canvas, figure.data, figure.layout, {
      displayModeBar: false,
      displaylogo: false,
      scrollZoom: false,
      doubleClick: false,
      showTips: false,
    });
    box.classList.add("drawn");
    drawn.add(box);
  };

  const tried = (box) =>
    draw(box).catch(() => {
      box.classList.add("broken");
    });

  const seen = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) {
        if (!entry.isIntersecting) continue;
        seen.unobserve(entry.target);
        tried(entry.target);
      }
    },
    { rootMargin: "400px" },
  );
  for (const box of boxes) seen.observe(box);

  const again = () => drawn.forEach(tried);
  document.addEventListener("lori:theme", again);
  let width = innerWidth;
  let waiting = 0;
  addEventListener("resize", () => {
    if (innerWidth === width) return;
    width = innerWidth;
    clearTimeout(waiting);
    waiting = setTimeout(again, 120);
  });
})();
