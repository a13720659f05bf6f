// Pointer and keyboard on a view: which handle is meant, and where it is taken. One pointer at a time.
class Hand {
  static REACH = { mouse: 8, pen: 12, touch: 24 }; // pixels beyond a mark's own size

  // app: { scene, change(scene), select(view, id), refresh(), say(text) }
  constructor(view, plane, app) {
    Object.assign(this, { view, plane, app, held: null, panned: null });
    const { canvas } = plane;
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    for (const kind of ["pointerup", "pointercancel", "lostpointercapture"]) canvas.addEventListener(kind, () => this.up());
    // a finger on a handle drags it, elsewhere it scrolls the page
    canvas.addEventListener("touchstart", (event) => { if (this.held) event.preventDefault(); }, { passive: false });
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("dblclick", () => { plane.goHome(); app.refresh(); });
  }

  handles() { return this.view.handles(this.app.scene, this.plane.window); }

  place(event) {
    const frame = this.plane.canvas.getBoundingClientRect();
    return [event.clientX - frame.left, event.clientY - frame.top];
  }

  nearest(px, py, reach) {
    let best = null, least = reach;
    for (const handle of this.handles()) {
      const dx = this.plane.toX(handle.x) - px, dy = this.plane.toY(handle.y) - py;
      // from the mark's own edge, so that a larger one below another can be had; an edge of the data, which runs
      // through the whole view, yields to points
      const beyond = Math.max(Math.hypot(dx, dy) - Plane.size(handle.who, handle.hollow), 0);
      const distance = handle.wholeHeight ? Math.abs(dx) + reach / 2 : beyond;
      if (distance < least) [best, least] = [handle, distance];
    }
    return best;
  }

  down(event) {
    if (event.button !== 0 || this.held || this.panned) return;
    const [px, py] = this.place(event);
    const handle = this.nearest(px, py, Hand.REACH[event.pointerType] ?? Hand.REACH.pen);
    if (handle) {
      // a mark taken beside its middle stays beside the pointer
      const shift = [this.plane.toX(handle.x) - px, handle.wholeHeight ? 0 : this.plane.toY(handle.y) - py];
      this.held = { id: handle.id, px, py, shift };
      this.app.select(this.view, handle.id);
    } else if (event.pointerType !== "touch") this.panned = [px, py];
    if (this.held || this.panned) {
      try { this.plane.canvas.setPointerCapture(event.pointerId); } catch { /* the pointer is gone already */ }
    }
  }

  move(event) {
    const [px, py] = this.place(event);
    if (this.held) {
      Object.assign(this.held, { px, py });
      this.hold();
    } else if (this.panned) {
      this.plane.pan(px - this.panned[0], py - this.panned[1]);
      this.panned = [px, py];
      this.app.refresh();
    } else {
      const over = this.nearest(px, py, Hand.REACH.mouse);
      this.plane.canvas.style.cursor = over ? (over.wholeHeight ? "ew-resize" : "grab") : "default";
    }
  }

  // Puts the handle under the pointer; again after every step while it runs, so that it stays there
  hold() {
    if (!this.held) return;
    const { id, px, py, shift } = this.held;
    const { box } = this.plane;
    const x = this.plane.fromX(Math.min(Math.max(px + shift[0], box.x), box.x + box.width));
    const y = this.plane.fromY(Math.min(Math.max(py + shift[1], box.y), box.y + box.height));
    this.app.change(this.view.drag(this.app.scene, id, x, y));
  }

  up() {
    this.held = this.panned = null;
  }

  wheel(event) {
    if (!event.ctrlKey) return; // a plain wheel scrolls the page; pinching a trackpad arrives with ctrl
    event.preventDefault();
    this.plane.zoom(1.0015 ** event.deltaY, ...this.place(event));
    this.app.refresh();
  }

  key(event) {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (step) this.nudge(step, event.shiftKey ? 10 : 1);
    else if (event.key === "Enter") this.next();
    else if (event.key === "+" || event.key === "=") this.plane.zoom(0.8);
    else if (event.key === "-") this.plane.zoom(1.25);
    else return;
    event.preventDefault();
    event.stopPropagation();
    this.app.refresh();
  }

  selected() {
    const all = this.handles();
    return all.find((handle) => handle.id === this.app.selected(this.view)) ?? all[0];
  }

  // by one two-hundredth of the window
  nudge([dx, dy], times) {
    const handle = this.selected();
    if (!handle) return;
    this.app.select(this.view, handle.id);
    const { x, y } = this.plane.window;
    const to = [handle.x + (dx * times * (x[1] - x[0])) / 200, handle.y + (dy * times * (y[1] - y[0])) / 200];
    this.app.change(this.view.drag(this.app.scene, handle.id, ...to));
  }

  next() {
    const all = this.handles();
    if (!all.length) return;
    const now = all.findIndex(({ id }) => id === this.app.selected(this.view));
    const handle = all[(now + 1) % all.length];
    this.app.select(this.view, handle.id);
    this.app.say(`${handle.label}: arrow keys move it`);
  }
}
