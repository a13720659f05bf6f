// Everything around the canvases: buttons, sliders, typed numbers, readings, messages. It asks the app, and shows the app.
class Panel {
  static REFRESH_MS = 100; // readings that flicker faster cannot be read

  constructor(app) {
    this.app = app;
    this.shown = 0;
    this.typed = [...document.querySelectorAll("[data-value]")];
    for (const field of this.typed) {
      field.addEventListener("change", () => this.take(field));
      field.addEventListener("focus", () => field.select?.());
      field.addEventListener("blur", () => this.leave(field));
    }
    for (const button of document.querySelectorAll("[data-do]")) {
      button.addEventListener("click", () => this.app[button.dataset.do](button));
    }
    this.slider("rate", [1e-4, 1], (value) => Number(value.toPrecision(3)));
    this.slider("speed", [1, 100], Math.round);
    this.presets();
    document.addEventListener("keydown", (event) => this.key(event));
  }

  // A slider of logarithms beside a typed number
  slider(name, [from, to], tidy) {
    const slider = document.getElementById(name);
    slider.addEventListener("input", () => this.app.set(name, tidy(from * (to / from) ** (slider.value / 1000))));
    this[name] = { slider, position: (value) => (1000 * Math.log(value / from)) / Math.log(to / from) };
  }

  presets() {
    this.choice = document.getElementById("preset");
    let group = this.choice;
    let name = "";
    this.app.presets.forEach((preset, i) => {
      if (preset.group !== name) {
        group = this.choice.appendChild(document.createElement("optgroup"));
        group.label = name = preset.group;
      }
      group.append(new Option(preset.name, i));
    });
    this.choice.addEventListener("change", () => this.app.choose(Number(this.choice.value)));
  }

  take(field) {
    try {
      this.app.set(field.dataset.value, field.value);
      field.removeAttribute("aria-invalid");
    } catch (error) {
      field.setAttribute("aria-invalid", "true");
      this.say(error.message, true);
    }
  }

  // what was refused is replaced by what holds
  leave(field) {
    field.removeAttribute("aria-invalid");
    this.app.refresh();
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select")) return;
    if (event.key === " " && event.target.closest("button, a, summary")) return; // it presses what has the focus
    const action = { " ": "playOrPause", ".": "stepOnce", r: "turn", e: "erase", s: "resetStudent", h: "goHome" }[event.key];
    if (!action) return;
    event.preventDefault();
    this.app[action]();
  }

  say(text, wrong = false) {
    const line = document.getElementById("message");
    line.textContent = text;
    line.classList.toggle("wrong", wrong);
  }

  // An error stands until something is right again
  forgive() {
    if (document.getElementById("message").classList.contains("wrong")) this.say("");
  }

  // What can be read at a glance; what is typed, kept or shared has all its digits
  static written(value, digits = 3) {
    if (!Number.isFinite(value)) return "–";
    const small = value !== 0 && Math.abs(value) < 10 ** -digits;
    const text = small || Math.abs(value) >= 1e5 ? value.toExponential(1) : String(Number(value.toFixed(digits)));
    return text.replace("-", "−").replace("e-", "e−");
  }

  show(now, always) {
    if (!always && now - this.shown < Panel.REFRESH_MS) return false;
    this.shown = now;
    const { scene } = this.app;
    const shape = Core.shape(scene.student);
    const values = { ...scene, student: { ...scene.student, ...shape, ratio: Math.abs(scene.student.w / scene.student.a) } };
    for (const field of this.typed) {
      if (field === document.activeElement && field.tagName === "INPUT") continue;
      const [part, key] = field.dataset.value.split(".");
      const value = key ? values[part][key] : values[part];
      field.value = field.tagName === "SELECT" ? String(value) : Panel.written(value, key === "ratio" ? 2 : key ? 3 : 4);
    }
    for (const name of ["rate", "speed"]) {
      this[name].slider.value = this[name].position(scene[name]);
      this[name].slider.setAttribute("aria-valuetext", String(scene[name]));
    }
    this.readings();
    return true;
  }

  readings() {
    const { scene, x, target, steps, playing } = this.app;
    const g = Core.gradient(x, target, scene.student);
    const state = Core.state(scene.data, scene.student);
    const texts = {
      loss: Panel.written(g.loss, 5), slope: Panel.written(Math.hypot(g.w, g.b, g.a, g.c), 5), steps: steps.toLocaleString("en"),
      margin: Panel.written(Core.margin(scene.data, scene.student)), state,
      balance: Panel.written(Core.balance(scene.student)),
    };
    for (const [name, text] of Object.entries(texts)) document.getElementById(`read-${name}`).textContent = text;
    document.getElementById("read-state").dataset.state = state;
    document.getElementById("play").textContent = playing ? "❚❚ pause" : "▶ play";
    document.getElementById("reverse").setAttribute("aria-pressed", String(scene.reverse));
    const spacing = (scene.data.high - scene.data.low) / (scene.data.count - 1);
    document.getElementById("spacing").textContent = `${Panel.written(spacing, 4)} apart`;
  }
}
