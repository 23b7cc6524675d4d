"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const number = (v) => Math.abs(v) >= 1e6 || (v && Math.abs(v) < 1e-4) ? v.toExponential(2) : String(+v.toPrecision(4));
  const scaled = (v, units) => {
    const [unit, name] = units.find(([least]) => v >= least) || units[units.length - 1];
    return `${+(v / unit).toPrecision(3)} ${name}`;
  };
  const time = (v) => v >= 7200 ? scaled(v / 3600, [[1, "h"]])
    : v >= 120 ? scaled(v / 60, [[1, "min"]]) : scaled(v, [[1, "s"], [1e-3, "ms"], [1e-6, "µs"]]);
  const rate = (v) => scaled(v, [[1e9, "Gbit/s"], [1e6, "Mbit/s"], [1e3, "kbit/s"]]);

  // Values under the pointer, from the positions of the lines' points.
  const tip = document.createElement("div");
  tip.id = "tip";
  tip.hidden = true;
  document.body.append(tip);
  const kinds = {
    linear: [(v) => v, (t) => t],
    log: [Math.log, Math.exp],
    ones: [(v) => -Math.log(1 - v), (t) => 1 - Math.exp(-t)],
  };
  const value = (axis, share) => {
    const [kind, low, high] = axis.split(" ");
    const [there, back] = kinds[kind];
    const [a, b] = [there(+low), there(+high)];
    return back(a + share * (b - a));
  };
  for (const svg of document.querySelectorAll("svg.hover")) {
    const [left, right, bottom, top] = svg.dataset.box.split(" ").map(Number);
    const lines = [...svg.querySelectorAll("g[data-arm]")].map((g) => [
      data.arms[g.dataset.arm],
      g.querySelector("polyline").getAttribute("points").split(" ").map((p) => p.split(",").map(Number)),
    ]);
    const unit = svg.querySelector(".faint").textContent.replace(" (logarithmic)", "");
    const show = (event) => {
      const box = svg.getBoundingClientRect();
      const at = ((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width;
      tip.textContent = lines.map(([arm, points]) => {
        const near = points.reduce((a, b) => (Math.abs(b[0] - at) < Math.abs(a[0] - at) ? b : a));
        const x = value(svg.dataset.x, (near[0] - left) / (right - left));
        const y = value(svg.dataset.y, (bottom - near[1]) / (bottom - top));
        return `${arm}: ${number(y)} at ${number(x)} ${unit}`;
      }).join("\n");
      tip.hidden = false;
      const room = document.documentElement.clientWidth - tip.offsetWidth - 8;
      tip.style.left = `${Math.max(0, Math.min(event.pageX + 14, room))}px`;
      tip.style.top = `${event.pageY + 16}px`;
    };
    svg.addEventListener("pointermove", show);
    svg.addEventListener("pointerdown", show);
    svg.addEventListener("pointerleave", () => { tip.hidden = true; });
  }

  // Times to the target at any network: seconds + latencies * latency + bits / bandwidth of every run.
  const median = (sorted) => {
    const half = sorted.length / 2;
    return half % 1 ? sorted[Math.floor(half)] : (sorted[half - 1] + sorted[half]) / 2;
  };
  document.querySelectorAll(".sliders").forEach((box, index) => {
    const { points } = data.sliders[index];
    const [point, bandwidth, latency] = box.querySelectorAll("select, input");
    const [shownBandwidth, shownLatency] = box.querySelectorAll("output");
    const body = box.querySelector("tbody");
    const price = () => {
      const [bits, delay] = [10 ** bandwidth.value, 10 ** latency.value];
      shownBandwidth.textContent = rate(bits);
      shownLatency.textContent = time(delay);
      const arms = points[point.value][1].map(([arm, runs]) => [arm, runs.map(([seed, reached, base, delays, sent]) =>
        [seed, reached ? base + delays * delay + sent / bits : Infinity])]);
      const reference = new Map((arms.find(([arm]) => arm === data.reference) || ["", []])[1]);
      body.replaceChildren(...arms.map(([arm, runs]) => {
        const middle = median(runs.map(([, t]) => t).sort((a, b) => a - b));
        const reached = runs.filter(([, t]) => t < Infinity).length;
        const logs = runs.filter(([seed, t]) => t < Infinity && reference.get(seed) < Infinity)
          .map(([seed, t]) => Math.log(t / reference.get(seed)));
        const ratio = Math.exp(logs.reduce((a, b) => a + b, 0) / logs.length);
        const row = document.createElement("tr");
        const texts = [arm, `${middle < Infinity ? time(middle) : "–"} (${reached} of ${runs.length})`,
          arm === data.reference ? "reference" : logs.length ? `${number(+ratio.toPrecision(3))} (${logs.length} pair${logs.length > 1 ? "s" : ""})` : "–"];
        texts.forEach((text, i) => {
          const cell = document.createElement(i ? "td" : "th");
          cell.textContent = text;
          if (i) cell.className = "n";
          else cell.scope = "row";
          row.append(cell);
        });
        return row;
      }));
    };
    for (const each of [point, bandwidth, latency]) each.addEventListener("input", price);
    price();
    box.hidden = false;
  });

  // Closed parts are printed too.
  let closed = [];
  addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details:not([open])")];
    for (const each of closed) each.open = true;
  });
  addEventListener("afterprint", () => { for (const each of closed) each.open = false; });
})();
