/* One run over a catalogue: batches of the service, their progress, and what they have written so far. */

import { ask, jsonLines, Problem, request } from "./api.js";
import { wait } from "./dom.js";

const KEPT = "adloom.run";
const POLL_MILLISECONDS = 700;
const AGAIN_MILLISECONDS = 3000;
const LIVE_PRODUCTS_MAX = 300;
const SEED_STEP = 1;

export class Run {
  constructor({ tell }) {
    this.tell = tell;
    this.batches = [];
    this.settings = null;
    this.snapshot = "";
    this.latest = null;
    this.ads = new Map();
    this.failed = new Map();
    this.unwritten = new Set();
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
    Object.assign(this, { batches: [], settings: null, snapshot: "", latest: null, ads: new Map(), failed: new Map(), unwritten: new Set() });
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
    for (;;) {
      try {
        this.latest = await ask("GET", `/api/batches/${this.batches.at(-1)}`);
        const done = this.latest.written + this.latest.failed;
        if (!this.isOpen || (done !== seen && this.latest.products <= LIVE_PRODUCTS_MAX)) { await this.read(); }
        seen = done;
        this.tell("");
        if (!this.isOpen) { return; }
        await wait(POLL_MILLISECONDS);
      } catch (error) {
        if (!(error instanceof Problem) || (error.status > 0 && error.status < 500 && error.status !== 429)) { throw error; }
        this.tell(`${error.message} The run goes on by itself; looking again in a few seconds.`);
        await wait(Math.max(AGAIN_MILLISECONDS, error.retryAfter * 1000));
      }
    }
  }

  async read() {
    const ads = new Map();
    const failed = new Map();
    const unwritten = new Set();
    for (const batch of this.batches) {
      const answer = await request("GET", `/api/batches/${batch}/results`);
      for await (const item of jsonLines(answer)) {
        failed.delete(item.sku);
        unwritten.delete(item.sku);
        if (item.state === "failed") { failed.set(item.sku, item.error); }
        if (item.state === "cancelled") { unwritten.add(item.sku); }
        for (const ad of item.creatives) { ads.set(`${ad.sku} ${ad.channel}`, ad); }
      }
    }
    Object.assign(this, { ads, failed, unwritten });
  }
}
