// A canvas with axes: values to pixels and back, ticks, and the few shapes that all views draw.
class Plane {
  static ROOM = { left: 40, right: 10, top: 10, bottom: 32 };

  constructor(canvas, home) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.home = home;
    this.window = structuredClone(home);
    this.fit();
  }

  // Takes the size that the page gives to the canvas; whether it has changed
  fit() {
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    const { clientWidth, clientHeight } = this.canvas;
    if (clientWidth === this.width && clientHeight === this.height && ratio === this.ratio) return false;
    Object.assign(this, { width: clientWidth, height: clientHeight, ratio });
    this.canvas.width = Math.round(clientWidth * ratio);
    this.canvas.height = Math.round(clientHeight * ratio);
    const { left, right, top, bottom } = Plane.ROOM;
    const width = Math.max(clientWidth - left - right, 1), height = Math.max(clientHeight - top - bottom, 1);
    this.box = { x: left, y: top, width, height };
    return true;
  }

  // pixels per unit
  get perX() { return this.box.width / (this.window.x[1] - this.window.x[0]); }
  get perY() { return this.box.height / (this.window.y[1] - this.window.y[0]); }
  toX(value) { return this.box.x + (value - this.window.x[0]) * this.perX; }
  toY(value) { return this.box.y + (this.window.y[1] - value) * this.perY; }
  fromX(pixel) { return this.window.x[0] + (pixel - this.box.x) / this.perX; }
  fromY(pixel) { return this.window.y[1] - (pixel - this.box.y) / this.perY; }
  has(x, y) { const w = this.window; return x >= w.x[0] && x <= w.x[1] && y >= w.y[0] && y <= w.y[1]; }

  // factor < 1: nearer. About a pixel, by default the middle
  zoom(factor, px = this.box.x + this.box.width / 2, py = this.box.y + this.box.height / 2) {
    const span = (this.window.x[1] - this.window.x[0]) * factor;
    if (span < 0.02 || span > 400) return;
    const about = (pair, centre) => pair.map((value) => centre + (value - centre) * factor);
    this.window = { x: about(this.window.x, this.fromX(px)), y: about(this.window.y, this.fromY(py)) };
  }

  pan(dx, dy) {
    const { perX, perY } = this;
    this.window = { x: this.window.x.map((value) => value - dx / perX), y: this.window.y.map((value) => value + dy / perY) };
  }

  goHome() { this.window = structuredClone(this.home); }

  // Round values, about `count` of them
  static ticks([from, to], count) {
    const rough = (to - from) / count;
    const power = 10 ** Math.floor(Math.log10(rough));
    const spacing = [1, 2, 5, 10].map((digit) => digit * power).find((width) => width >= rough);
    const digits = Math.max(0, -Math.floor(Math.log10(spacing) + 1e-9));
    const all = [];
    for (let i = Math.ceil(from / spacing - 1e-9); i * spacing <= to + 1e-9 * spacing; i++) {
      all.push({ value: i * spacing, text: (i * spacing).toFixed(digits).replace("-", "−").replace(/^−(0(\.0*)?)$/, "$1") });
    }
    return all;
  }

  begin(theme) {
    const { context: draw, ratio } = this;
    draw.setTransform(ratio, 0, 0, ratio, 0, 0);
    draw.clearRect(0, 0, this.width, this.height);
    draw.fillStyle = theme.panel;
    draw.fillRect(this.box.x, this.box.y, this.box.width, this.box.height);
    draw.font = "12px system-ui, sans-serif";
    return draw;
  }

  // Runs `paint` with another canvas of this size in place of the plane's own
  onto(canvas, paint) {
    const own = this.context;
    if (canvas.width !== this.canvas.width || canvas.height !== this.canvas.height) {
      Object.assign(canvas, { width: this.canvas.width, height: this.canvas.height });
    }
    this.context = canvas.getContext("2d");
    try { paint(); } finally { this.context = own; }
  }

  // Runs `paint` with everything outside the axes cut off
  inside(paint) {
    const { context: draw, box } = this;
    draw.save();
    draw.beginPath();
    draw.rect(box.x, box.y, box.width, box.height);
    draw.clip();
    paint(draw);
    draw.restore();
  }

  axes(theme, xName, yName) {
    const { context: draw, box, window: seen } = this;
    draw.strokeStyle = theme.line;
    draw.lineWidth = 1;
    draw.strokeRect(box.x + 0.5, box.y + 0.5, box.width - 1, box.height - 1);
    draw.fillStyle = theme.faint;
    draw.textBaseline = "top";
    draw.textAlign = "center";
    const xEnd = box.x + box.width;
    for (const { value, text } of Plane.ticks(seen.x, Math.max(3, box.width / 42))) {
      const x = this.toX(value);
      draw.fillRect(x - 0.5, box.y + box.height, 1, 4);
      if (x < xEnd - 24) draw.fillText(text, x, box.y + box.height + 6);
    }
    draw.textBaseline = "middle";
    draw.textAlign = "right";
    for (const { value, text } of Plane.ticks(seen.y, Math.max(3, box.height / 34))) {
      const y = this.toY(value);
      draw.fillRect(box.x - 4, y - 0.5, 4, 1);
      if (y > box.y + 22) draw.fillText(text, box.x - 7, y);
    }
    draw.fillStyle = theme.text;
    draw.font = "italic 600 14px system-ui, sans-serif";
    draw.fillText(yName, box.x - 9, box.y + 8);
    draw.textAlign = "right";
    draw.fillText(xName, xEnd - 2, box.y + box.height + 13);
    draw.font = "12px system-ui, sans-serif";
  }

  zeroLines(draw, colour) {
    draw.fillStyle = colour;
    draw.fillRect(this.toX(0) - 0.5, this.box.y, 1, this.box.height);
    draw.fillRect(this.box.x, this.toY(0) - 0.5, this.box.width, 1);
  }

  path(draw, points) {
    draw.beginPath();
    points.forEach(([x, y], i) => (i ? draw.lineTo(this.toX(x), this.toY(y)) : draw.moveTo(this.toX(x), this.toY(y))));
  }

  // The teacher's are larger: they look out from under the student's when it has learned
  static size(who, hollow) { return (who === "student" ? 6.5 : 10) * (hollow ? 0.85 : 1); }

  // A point that can be taken hold of: circle (student) or diamond (teacher), hollow for slopes, ringed when selected
  mark(draw, theme, { x, y, who, hollow }, selected) {
    const px = this.toX(x), py = this.toY(y), size = Plane.size(who, hollow);
    const outline = () => {
      draw.beginPath();
      if (who === "student") draw.arc(px, py, size, 0, 2 * Math.PI);
      else [[0, -1], [1, 0], [0, 1], [-1, 0]].forEach(([u, v]) => draw.lineTo(px + u * size, py + v * size));
      draw.closePath();
    };
    outline();
    draw.lineWidth = 5;
    draw.strokeStyle = theme.panel;
    draw.stroke();
    draw.fillStyle = hollow ? theme.panel : theme[who];
    draw.fill();
    draw.lineWidth = 2;
    draw.strokeStyle = theme[who];
    draw.stroke();
    if (!selected) return;
    draw.beginPath();
    draw.arc(px, py, 14, 0, 2 * Math.PI);
    draw.strokeStyle = theme.accent;
    draw.stroke();
  }
}
