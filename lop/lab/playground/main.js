// The app: one scene, five views of it, a loop that steps and draws. Nothing is drawn while nothing changes.
class App {
  static STEPS_PER_S = 60; // at speed 1, on any screen
  static SLOW_MS = 5; // of drawing a frame: from there on a machine is spared

  constructor(presets) {
    this.presets = presets;
    this.trail = new Trail();
    this.counted = { frames: 0, drawn: 0, drawMs: 0, images: 0 };
    this.playing = false;
    this.stale = false;
    this.turnOf = 0;
    this.pace = 0;
    this.waiting = null;
    this.choices = {};
    this.panel = new Panel(this);
    Theme.follow((theme) => {
      this.theme = theme;
      this.refresh();
    });
    this.screens = Views.all.map((view) => this.screen(view));
    this.choose(0);
    this.address = new Address(this);
    new ResizeObserver(() => this.refresh()).observe(document.getElementById("views"));
  }

  screen(view) {
    const canvas = document.getElementById(`view-${view.name}`);
    const plane = new Plane(canvas, view.home);
    const hand = new Hand(view, plane, this);
    const layer = document.createElement("canvas");
    const screen = { view, plane, hand, layer, picture: new Landscape.Picture(), trailImage: new TrailImage() };
    const zooms = { in: () => plane.zoom(0.8), out: () => plane.zoom(1.25), home: () => plane.goHome() };
    for (const button of canvas.closest("figure").querySelectorAll("[data-zoom]")) {
      button.addEventListener("click", () => { zooms[button.dataset.zoom](); this.refresh(); });
    }
    return screen;
  }

  // ---- what hands and typed numbers do ----

  change(scene) {
    if (scene.student !== this.scene?.student) {
      this.start = scene.student;
      this.steps = 0;
      this.trail.lift();
    }
    if (scene.teacher !== this.scene?.teacher || scene.data !== this.scene?.data) {
      this.x = Core.inputs(scene.data);
      this.target = Core.targets(this.x, scene.teacher);
      this.sums = Core.moments(scene.data, this.x, this.target);
    }
    this.scene = scene;
    this.refresh();
  }

  set(name, text) {
    this.change(Scene.withValue(this.scene, name, text));
    this.panel.forgive();
  }

  choose(index) {
    this.panel.choice.value = index;
    this.begin(Scene.fromPreset(this.presets[index]), this.presets[index].look);
  }

  // A start or an address: what the teacher is reset to
  begin(scene, text) {
    this.firstTeacher = scene.teacher;
    this.change(scene);
    this.trail.erase();
    this.say(text);
  }

  goHome() {
    this.pause();
    for (const { plane } of this.screens) plane.goHome();
    this.choose(0);
  }

  play() {
    this.playing = true;
    this.before = null;
    this.due = 0;
    this.refresh();
  }

  pause() {
    this.playing = false;
    this.refresh();
  }

  playOrPause() { if (this.playing) this.pause(); else this.play(); }

  stepOnce() {
    this.pause();
    this.advance(1);
  }

  turn() {
    this.change({ ...this.scene, reverse: !this.scene.reverse });
    const text = "Negative learning rate: the student climbs. Not quite the way back, for a step is not infinitely small.";
    this.say(this.scene.reverse ? text : "");
  }

  share() { this.address.copy(); }
  resetStudent() { this.change({ ...this.scene, student: { ...this.start } }); }
  resetTeacher() { this.change({ ...this.scene, teacher: { ...this.firstTeacher } }); }

  erase() {
    this.trail.erase();
    this.refresh();
  }

  select(view, id) {
    this.choices = { [view.name]: id };
    this.refresh();
  }

  selected(view) { return this.choices[view.name]; }
  say(text, wrong) { this.panel.say(text, wrong); }

  // ---- the loop ----

  advance(count) {
    const rate = this.scene.reverse ? -this.scene.rate : this.scene.rate;
    const held = this.screens.some(({ hand }) => hand.held?.id.startsWith("student"));
    let { student } = this.scene;
    if (!held) this.trail.add(student);
    for (let i = 0; i < count; i++) {
      const next = Core.step(this.x, this.target, student, rate);
      if (!Object.values(next).every((value) => Math.abs(value) <= Scene.LIMITS.w[1])) {
        this.pause();
        this.say("The student has run away (beyond 1000): paused. Reset it, or take a smaller learning rate.", true);
        break;
      }
      student = next;
      this.steps += 1;
      if (!held) this.trail.add(student);
    }
    if (["w", "b", "a", "c"].some((key) => student[key] !== this.scene.student[key])) {
      this.scene = { ...this.scene, student };
      this.stale = true;
    }
    for (const { hand } of this.screens) hand.hold();
    this.refresh(false);
  }

  refresh(stale = true) {
    this.stale ||= stale;
    this.waiting ??= requestAnimationFrame((now) => this.frame(now));
  }

  frame(now) {
    this.waiting = null;
    this.counted.frames += 1;
    if (this.playing) {
      this.due += Math.min(now - (this.before ?? now - 17), 50) / 1000 * App.STEPS_PER_S * this.scene.speed;
      this.before = now;
      const count = Math.floor(this.due);
      this.due -= count;
      if (count) this.advance(count);
    }
    const stale = this.stale;
    this.stale = false;
    if (stale) this.draw();
    if (!this.panel.show(now, !this.playing)) this.refresh(false);
    this.address.follow(now, this.playing);
    if (this.playing) this.refresh(false);
  }

  draw() {
    const begin = performance.now();
    for (const { plane } of this.screens) plane.fit();
    this.backgrounds();
    for (const { view, plane, layer, trailImage } of this.screens) {
      const content = { ...this, layer, trailImage, selected: this.selected(view) };
      if (view === Views.inputOutput) Draw.inputOutput(view, plane, content);
      else Draw.slice(view, plane, content);
    }
    this.counted.drawn += 1;
    this.counted.drawMs = performance.now() - begin;
    this.pace += 0.05 * (this.counted.drawMs - this.pace);
  }

  // Landscapes and arrows cost most of a frame: those that are out of date take turns, two a frame, one on a slow
  // machine. One whose window or colours have changed cannot wait.
  backgrounds() {
    const { scene } = this;
    const slices = this.screens.slice(1);
    const most = this.pace > App.SLOW_MS ? 1 : 2;
    let left = most;
    for (let i = 0; i < slices.length; i++) {
      const screen = slices[(this.turnOf + i) % slices.length];
      const { view, plane, layer } = screen;
      const frame = JSON.stringify([plane.window, plane.width, plane.height, plane.ratio, this.theme.name]);
      const content = JSON.stringify([scene.teacher, scene.data, view.depends(scene)]);
      if (frame === screen.frame && (content === screen.content || left === 0)) {
        if (content !== screen.content) this.refresh();
        continue;
      }
      plane.onto(layer, () => Draw.background(view, plane, { ...this, picture: screen.picture }));
      Object.assign(screen, { frame, content });
      this.counted.images += 1;
      left = Math.max(left - 1, 0);
    }
    this.turnOf = (this.turnOf + most) % slices.length;
  }
}
