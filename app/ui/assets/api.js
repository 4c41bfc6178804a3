/* Requests to this page's own server, which passes them on in the name of the session. */

const CSRF = document.querySelector("meta[name=csrf]")?.content ?? "";

/* `detail` says what happened and what to do; `errors` point to single values. */
export class Problem extends Error {
  constructor(document_, status, retryAfter = 0) {
    super(document_.detail || "Something went wrong: try again.");
    this.type = document_.type || "";
    this.status = status;
    this.errors = document_.errors || [];
    this.requestId = document_.request_id || "";
    this.retryAfter = retryAfter;
  }

  /* Asking again later would be answered the same. */
  get isFinal() { return this.status >= 400 && this.status < 500 && this.status !== 429; }
}

const away = () => new Problem({
  type: "away", detail: "This page's own server does not answer: check your connection and try again.",
}, 0);

const read = async (answer) => {
  try { return await answer.json(); } catch { return { detail: `The server answered ${answer.status}: try again.` }; }
};

export const request = async (method, path, { body, headers = {}, signal } = {}) => {
  let answer;
  try {
    answer = await fetch(path, { method, body, signal, headers: { "X-CSRF-Token": CSRF, ...headers } });
  } catch (error) {
    if (error.name === "AbortError") { throw error; }
    throw away();
  }
  if (answer.ok) { return answer; }
  const problem = new Problem(await read(answer), answer.status, Number(answer.headers.get("Retry-After")) || 0);
  if (problem.type.endsWith(":signed-out")) {
    location.assign(`/sign-in?ended=1&next=${encodeURIComponent(location.pathname)}`);
  }
  throw problem;
};

export const ask = async (method, path, value, more = {}) => {
  const sent = value === undefined ? {} : { body: JSON.stringify(value), headers: { "Content-Type": "application/json" } };
  const answer = await request(method, path, { ...sent, ...more, headers: { ...sent.headers, ...more.headers } });
  return answer.json();
};

async function* pieces(answer, separator) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const { value, done } = await reader.read().catch((error) => { throw error.name === "AbortError" ? error : away(); });
    if (done) { break; }
    held += value;
    const whole = held.split(separator);
    held = whole.pop();
    yield* whole;
  }
  if (held.trim()) { yield held; }
}

/* Server-sent events of a POST, which EventSource cannot send. */
export async function* events(answer) {
  for await (const piece of pieces(answer, "\n\n")) {
    const lines = piece.split("\n");
    const name = lines.find((line) => line.startsWith("event: "))?.slice(7);
    const data = lines.filter((line) => line.startsWith("data: ")).map((line) => line.slice(6)).join("\n");
    if (name) { yield [name, JSON.parse(data)]; }
  }
}

export async function* jsonLines(answer) {
  for await (const line of pieces(answer, "\n")) {
    if (line.trim()) { yield JSON.parse(line); }
  }
}

let known;
/* What each channel is called and takes, by name; asked for once. */
export const channels = () => {
  known ??= ask("GET", "/api/channels").then((answer) => new Map(answer.channels.map((each) => [each.name, each])));
  known.catch(() => { known = undefined; });
  return known;
};
