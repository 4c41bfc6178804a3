/* One run over a catalogue: batches of the service, their progress, and what they have written so far. */

import { ask, jsonLines, Problem, request } from "./api.js";
import { wait } from "./dom.js";

const KEPT = "adloom.run";
const POLL_MILLISECONDS = 700;
const AGAIN_MILLISECONDS = 3000;
const SEED_STEP = 1;
const LAST_READS_MAX = 5;

/* What has been read of one batch: every product up to the place `after`, and those `beyond` it that came early. */
class Reading {
  constructor(batch) { Object.assign(this, { batch, after: -1, beyond: new Set(), isWhole: false }); }

  /* Whether the product at `place` is new. */
  note(place) {
    if (place <= this.after || this.beyond.has(place)) { return false; }
    this.beyond.add(place);
    while (this.beyond.delete(this.after + 1)) { this.after += 1; }
    return true;
  }
}

export class Run {
  constructor({ tell }) {
    this.tell = tell;
    Object.assign(this, Run.nothing());
  }

  /* `changes` counts what was read, so that whoever shows it knows whether to look again. */
  static nothing() {
    return {
      batches: [], settings: null, snapshot: "", latest: null, readings: [], ads: new Map(), failed: new Map(),
      unwritten: new Set(), changes: 0,
    };
  }

  /* Survives a page that is loaded again, and a session that ended in between. No secret is in it. */
  static recall(given) {
    const run = new Run(given);
    try { Object.assign(run, JSON.parse(sessionStorage.getItem(KEPT) ?? "{}")); } catch { /* begin anew */ }
    return run;
  }

  keep() {
    const { batches, settings, snapshot } = this;
    sessionStorage.setItem(KEPT, JSON.stringify({ batches, settings, snapshot }));
  }

  forget() {
    sessionStorage.removeItem(KEPT);
    Object.assign(this, Run.nothing());
  }

  get isOpen() { return this.latest !== null && ["queued", "running"].includes(this.latest.state); }

  async start(snapshot, settings) {
    const made = await ask("POST", "/api/batches", { snapshot, ...settings }, { headers: { "Idempotency-Key": crypto.randomUUID() } });
    this.batches.push(made.id);
    Object.assign(this, { snapshot: this.snapshot || snapshot, settings: this.settings ?? settings, latest: { ...made, progress: 0, written: 0, waiting: made.products } });
    this.keep();
    await this.follow();
  }

  /* Write some products again, or for the first time. Later batches replace what earlier ones wrote. */
  async again(skus, { newSeed }) {
    const part = await ask("POST", "/catalogue/part", { skus: [...skus] });
    const settings = { ...this.settings, seed: this.settings.seed + (newSeed ? SEED_STEP : 0) };
    if (newSeed) { this.settings = settings; }
    await this.start(part.snapshot, settings);
  }

  async stop() {
    this.latest = await ask("DELETE", `/api/batches/${this.batches.at(-1)}`);
    this.tell("Stopping …");
  }

  async follow() {
    let seen = -1;
    let lastReads = 0;
    for (;;) {
      try {
        this.latest = await ask("GET", `/api/batches/${this.batches.at(-1)}`);
        const done = this.latest.written + this.latest.failed;
        if (!this.isOpen || done !== seen) { await this.read(); }
        seen = done;
        this.tell("");
        lastReads += this.isOpen ? 0 : 1;
        if (!this.isOpen && (this.isRead || lastReads === LAST_READS_MAX)) { return; }
        await wait(POLL_MILLISECONDS);
      } catch (error) {
        if (!(error instanceof Problem) || error.isFinal) { throw error; }
        this.tell(`${error.message} The run goes on by itself; looking again in a few seconds.`);
        await wait(Math.max(AGAIN_MILLISECONDS, error.retryAfter * 1000));
      }
    }
  }

  get isRead() { return this.readings.length === this.batches.length && this.readings.every((reading) => reading.isWhole); }

  /* Only what is new: of 10,000 products everything would be megabytes, each time. */
  async read() {
    for (const batch of this.batches.slice(this.readings.length)) { this.readings.push(new Reading(batch)); }
    const last = this.readings.at(-1);
    for (const reading of this.readings.filter((each) => !each.isWhole)) {
      const mayGrow = reading === last && this.isOpen;
      const answer = await request("GET", `/catalogue/results/${reading.batch}?after=${reading.after}`);
      for await (const item of jsonLines(answer)) {
        if (reading.note(item.place)) { this.take(item); }
      }
      reading.isWhole = !mayGrow && (reading !== last || reading.after + 1 >= this.latest.products);
    }
  }

  take(item) {
    this.changes += 1;
    this.failed.delete(item.sku);
    this.unwritten.delete(item.sku);
    if (item.state === "failed") { this.failed.set(item.sku, item.error); }
    if (item.state === "cancelled") { this.unwritten.add(item.sku); }
    for (const ad of item.creatives) { this.ads.set(`${ad.sku} ${ad.channel}`, ad); }
  }
}
