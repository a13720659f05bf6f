// Where the student has been, and its drawing: lines are added to an image, not drawn anew in every frame.
class Trail {
  static LIMIT = 20_000;
  static STEP = 0.004; // less than half a pixel

  constructor() { this.erase(); }

  erase() {
    this.points = []; // students; null where the hand moved it
    this.version = (this.version ?? 0) + 1;
  }

  lift() {
    if (this.points.length && this.points.at(-1)) this.points.push(null);
  }

  add(student) {
    const last = this.points.at(-1);
    if (last && !Trail.far(last, student)) return;
    this.points.push(student);
    if (this.points.length > Trail.LIMIT) this.thin();
  }

  // the kink runs far ahead of the weights when w is small
  static far(one, two) {
    if (["w", "b", "a", "c"].some((key) => Math.abs(one[key] - two[key]) > Trail.STEP)) return true;
    return Math.abs(one.b / one.w - two.b / two.w) > Trail.STEP;
  }

  thin() {
    const keep = (point, i, all) => !point || !all[i - 1] || !all[i + 1] || i % 2 === 0;
    this.points = this.points.filter(keep);
    // breaks and their neighbours are kept, so a scribbler's trail may not shrink: forget the oldest half
    if (this.points.length > Trail.LIMIT * 0.9) this.points = this.points.slice(this.points.length / 2);
    this.version += 1;
  }
}

class TrailImage {
  constructor() {
    this.canvas = document.createElement("canvas");
    this.context = this.canvas.getContext("2d");
    this.done = 0;
  }

  update(trail, view, plane, theme) {
    const key = JSON.stringify([trail.version, plane.window, plane.width, plane.height, plane.ratio, theme.name]);
    if (key !== this.key) {
      this.canvas.width = plane.canvas.width;
      this.canvas.height = plane.canvas.height;
      Object.assign(this, { key, done: 0 });
    }
    const { points } = trail;
    if (this.done >= points.length) return;
    const draw = this.context;
    draw.setTransform(plane.ratio, 0, 0, plane.ratio, 0, 0);
    Object.assign(draw, { strokeStyle: theme.student, lineWidth: 2, lineCap: "round", lineJoin: "round" });
    draw.beginPath();
    const start = Math.max(this.done - 1, 0);
    let pen = false;
    for (let i = start; i < points.length; i++) {
      const place = points[i] && view.project(points[i]);
      const x = place && plane.toX(place[0]), y = place && plane.toY(place[1]);
      const drawable = place && Math.abs(x) < 1e5 && Math.abs(y) < 1e5;
      if (drawable) {
        if (pen) draw.lineTo(x, y);
        else draw.moveTo(x, y);
        if (!points[i - 1]) this.ring(draw, x, y);
      }
      pen = Boolean(drawable);
    }
    draw.stroke();
    this.done = points.length;
  }

  // where a trajectory began
  ring(draw, x, y) {
    draw.moveTo(x + 4, y);
    draw.arc(x, y, 4, 0, 2 * Math.PI);
    draw.moveTo(x, y);
  }
}
