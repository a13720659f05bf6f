// The scene in the page's address: read when the page opens, written while it changes.
class Address {
  static EVERY_MS = 1000; // browsers refuse addresses that change too often

  constructor(app) {
    Object.assign(this, { app, written: "", last: 0 });
    this.take();
    window.addEventListener("hashchange", () => this.take());
  }

  take() {
    if (location.hash.length < 2 || location.hash === this.written) return;
    try {
      this.app.begin(Scene.fromHash(location.hash, this.app.scene), "As in the address.");
    } catch (error) {
      this.app.say(`The address: ${error.message}`, true);
    }
  }

  follow(now, playing) {
    if (playing && now - this.last < Address.EVERY_MS) return;
    this.last = now;
    this.write();
  }

  write() {
    const hash = Scene.toHash(this.app.scene);
    if (hash === this.written) return;
    this.written = hash;
    try { history.replaceState(null, "", hash); } catch { /* refused for now: the next change tries again */ }
  }

  async copy() {
    this.write();
    try {
      await navigator.clipboard.writeText(location.href);
      this.app.say("The address of this state is on the clipboard.");
    } catch {
      this.app.say("The browser's address line holds this state: copy it from there.");
    }
  }
}
