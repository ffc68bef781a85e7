"use strict";

// Plots: lines over time as inline SVG. A step without a value is a gap, not a zero.

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 520, HEIGHT = 190, LEFT = 46, RIGHT = 8, TOP = 10, BOTTOM = 24;
const LONGEST = 3600, SHORTEST = 300;

function svg(name, attributes, text) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes || {})) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

// The smallest round number (1, 2 or 5 times a power of ten) that is not below the value.
function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((times) => times * power).find((candidate) => candidate >= value * 0.999);
}

// lines: [{name, kind: "a" | "b", value(point)}]; format(value) is a value's text; top: the top of the axis, or null to
// fit it to the values; idle: the top of the axis then while no value is above 0.
class Plot {
  constructor(place, title, lines, format, top, idle) {
    this.title = title;
    this.lines = lines;
    this.format = format;
    this.top = top;
    this.idle = idle;
    this.points = [];
    this.chart = place.appendChild(svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" }));
    this.chart.addEventListener("pointermove", (event) => this.follow(event));
    this.chart.addEventListener("pointerleave", () => this.read(null));
    const legend = place.appendChild(document.createElement("div"));
    legend.className = "legend";
    this.readings = lines.map((line) => {
      const entry = legend.appendChild(document.createElement("span"));
      const sample = entry.appendChild(svg("svg", { viewBox: "0 0 22 8", "aria-hidden": "true" }));
      sample.append(svg("path", { d: "M1 4H21", class: line.kind }));
      return entry.appendChild(document.createElement("span"));
    });
    this.when = legend.appendChild(document.createElement("span"));
  }

  show(points, now) {
    this.points = points;
    this.end = now;
    const oldest = points.length ? points[0].at : now;
    this.begin = now - Math.min(LONGEST, Math.max(SHORTEST, now - oldest));
    const largest = Math.max(0, ...points.flatMap((point) => this.lines.map((line) => line.value(point) ?? 0)));
    this.high = this.top ?? (largest > 0 ? roundUp(largest) : this.idle);
    this.chart.replaceChildren(...this.axes(), ...this.lines.flatMap((line) => this.trace(line)));
    this.cursor = this.chart.appendChild(svg("line", { class: "cursor", y1: TOP, y2: HEIGHT - BOTTOM, visibility: "hidden" }));
    this.read(null);
  }

  x(at) { return LEFT + (WIDTH - LEFT - RIGHT) * Math.max(0, (at - this.begin) / (this.end - this.begin)); }
  y(value) { return TOP + (HEIGHT - TOP - BOTTOM) * (1 - Math.min(1, value / this.high)); }

  axes() {
    const drawn = [];
    for (const share of [0, 0.5, 1]) {
      const y = this.y(share * this.high);
      drawn.push(svg("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y, y2: y }));
      drawn.push(svg("text", { x: LEFT - 8, y: y + 4, "text-anchor": "end" }, this.format(share * this.high)));
    }
    const minutes = Math.round((this.end - this.begin) / 60);
    const marks = [[this.begin, `${minutes} min ago`, "start"], [(this.begin + this.end) / 2, `${minutes / 2} min`, "middle"], [this.end, "now", "end"]];
    for (const [at, text, anchor] of marks) {
      drawn.push(svg("text", { x: this.x(at), y: HEIGHT - 6, "text-anchor": anchor }, text));
    }
    return drawn;
  }

  trace(line) {
    const pieces = [];
    const alone = [];
    let piece = [];
    const finish = () => {
      if (piece.length > 1) pieces.push("M" + piece.join("L"));
      else alone.push(...piece);
      piece = [];
    };
    for (const point of this.points) {
      const value = line.value(point);
      if (value === null || point.at < this.begin) finish();
      else piece.push(`${this.x(point.at).toFixed(1)} ${this.y(value).toFixed(1)}`);
    }
    finish();
    const dots = alone.map((place) => place.split(" ")).map(([cx, cy]) => svg("circle", { cx, cy, r: 2.5, class: line.kind }));
    return [svg("path", { d: pieces.join("") || "M0 0", class: line.kind }), ...dots];
  }

  follow(event) {
    const box = this.chart.getBoundingClientRect();
    const at = this.begin + (((event.clientX - box.left) / box.width) * WIDTH - LEFT) / (WIDTH - LEFT - RIGHT) * (this.end - this.begin);
    const near = this.points.reduce((best, point) => (!best || Math.abs(point.at - at) < Math.abs(best.at - at) ? point : best), null);
    this.read(near);
  }

  // The legend shows the values of one point: the one under the pointer, else the last one that has a value.
  read(point) {
    const last = this.points.findLast((each) => this.lines.some((line) => line.value(each) !== null));
    const shown = point || last;
    const texts = this.lines.map((line) => {
      const value = shown ? line.value(shown) : null;
      return `${line.name} ${value === null ? "–" : this.format(value)}`;
    });
    texts.forEach((text, at) => { this.readings[at].textContent = text; });
    this.when.textContent = point ? new Date(point.at * 1000).toLocaleTimeString() : "";
    this.cursor?.setAttribute("visibility", point ? "visible" : "hidden");
    if (point && this.cursor) for (const name of ["x1", "x2"]) this.cursor.setAttribute(name, this.x(point.at));
    this.chart.setAttribute("aria-label", `${this.title}, latest: ${texts.join(", ")}`);
  }
}
