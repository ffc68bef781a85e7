// Page: asks the proxy for its state every two seconds, and carries out what the forms ask for.

const POLL = 2000;
let token = "";  // in memory only
let points = [];
let seen = 0;
let answered = Date.now();

const ratioPlot = new Plot($("ratio-plot"), "Hit ratio over time",
  [{ name: "hit ratio", kind: "a", value: (point) => point.hit_ratio }], (share) => `${+(share * 100).toFixed(1)} %`, 1, 1);
const latencyPlots = ["hit", "miss"].map((result) => new Plot($(`${result}-plot`), `How long a ${result} takes over time`,
  [{ name: "median", kind: "a", value: (point) => point[`${result}_p50`] }, { name: "99th percentile", kind: "b", value: (point) => point[`${result}_p99`] }],
  duration, null, 0.01));
const ratePlot = new Plot($("rate-plot"), "Calls per second over time",
  [{ name: "from the cache", kind: "a", value: (point) => cached(point.results) / point.seconds },
    { name: "all", kind: "b", value: (point) => answers(point.results) / point.seconds }],
  (rate) => `${+rate.toFixed(rate < 10 ? 1 : 0)}/s`, null, 1);

class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function ask(path, parameters, method = "GET") {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const options = { method, headers, cache: "no-store" };
  let address = path;
  if (method === "GET") address += `?${new URLSearchParams(parameters)}`;
  else {
    headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(parameters);
  }
  let response;
  try {
    response = await fetch(address, options);
  } catch {
    throw new Refused(0, "The proxy does not answer.");
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Refused(response.status, answer.error || `The proxy answered with status ${response.status}.`);
  return answer;
}

async function refresh() {
  try {
    const stats = await ask("stats", { since: seen });
    // The last point is the current step, which has not ended: the next answer has it again.
    const present = stats.series.pop();
    points = points.concat(stats.series).filter((point) => point.at > stats.now - LONGEST);
    seen = points.length ? points[points.length - 1].at : 0;
    answered = Date.now();
    $("trouble").hidden = true;
    $("token-form").hidden = true;
    $("main").hidden = false;
    $("main").classList.remove("gone");
    showStats(stats);
    const shown = present ? [...points, present] : points;
    ratioPlot.show(shown, stats.now);
    for (const plot of latencyPlots) plot.show(shown, stats.now);
    ratePlot.show(points, stats.now);  // the current step is too short for a rate
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    refused(error);
  }
}

function refused(error) {
  $("trouble").textContent = error.status === 401 && !token ? "" : error.message;
  $("trouble").hidden = !$("trouble").textContent;
  if (error.status === 0) {
    $("trouble").hidden = !$("main").hidden;  // if it is shown, the main part says the same, and since when
    showGone(answered);
  }
  if (error.status !== 401) return;
  $("main").hidden = true;
  if ($("token-form").hidden) {
    $("token-form").hidden = false;
    $("about").textContent = "";
    $("token").focus();
  }
}

async function poll() {
  // While the token is missing or wrong every request fails, and a tab that nobody sees needs no state.
  if (!document.hidden && $("token-form").hidden) await refresh();
  setTimeout(poll, POLL);
}

// Runs one request of the forms, and shows an error where its answer would be shown.
async function answering(work, place = "answer") {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    if (error.status === 401) refused(error);
    else showOutcome(error.message, true, place);
  }
  await refresh();
}

function confirmed(title, text, go) {
  $("confirm-title").textContent = title;
  $("confirm-text").textContent = text;
  $("confirm-go").textContent = go;
  const dialog = $("confirm");
  dialog.returnValue = "cancel";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "go"), { once: true });
  });
}

const theModel = () => ({ model_type: $("model-type").value.trim(), model_id: $("model-id").value.trim() });

const theCall = () => ({ ...theModel(), collection: $("collection").value, page: $("page").value || "1", per_page: $("per-page").value || "1" });

// Shows that something is in progress, and for how long, until it is done.
async function working(button, doing, place, asked) {
  const begun = Date.now();
  const tell = () => showOutcome(`${doing}… ${span((Date.now() - begun) / 1000)}`, false, place);
  $(button).disabled = true;
  tell();
  const ticking = setInterval(tell, 1000);
  try {
    return await asked;
  } finally {
    clearInterval(ticking);
    $(button).disabled = false;
  }
}

const purge = () => purgeOf(theModel(), `${theModel().model_type} ${theModel().model_id}`, "model", "purge");

async function purgeOf(named, name, kind, button) {
  const text = `Everything stored for this ${kind} is deleted, for all proxies that share this cache. The next reads fetch it again.`;
  if (!(await confirmed(`Purge ${name}?`, text, "Purge"))) return;
  const given = kind === "model" ? { ...named, collection: $("collection").value } : named;
  const done = await working(button, "Purging", "answer", ask("invalidate", given, "POST"));
  showOutcome(done.done ? `${name} is purged.` : `${name}: ${done.note}.`, !done.done);
}

async function flush() {
  const text = "Everything stored is deleted, for all proxies that share this cache. The services behind them get all reads until the answers are stored again.";
  if (!(await confirmed("Flush the whole cache?", text, "Flush everything"))) return;
  const begun = Date.now();
  const done = await working("flush", "Flushing", "answer", ask("flush", {}, "POST").then(followed));
  showOutcome(done.done ? `The whole cache is flushed. It took ${duration((Date.now() - begun) / 1000)}.` : `${done.note}.`, !done.done);
}

// Waits for a flush that takes longer than its answer may; the state at the top says how far it is.
async function followed(answer) {
  while (!answer.done) {
    const { flush: left } = await ask("stats", {});
    if (!left) return { done: true };
    if (left.share === null) return answer;
    await new Promise((resolve) => { setTimeout(resolve, 500); });
  }
  return answer;
}

const SWITCHES = {
  on: ["Switch caching on?", "This proxy answers calls from the cache again. Invalidations continued meanwhile, so what is stored is up to date.", "Switch on"],
  shadow: ["Switch to shadow?", "The media service answers every call to this proxy. The cache is kept up to date, and the proxy counts the cached answers that differ.", "Switch to shadow"],
  off: ["Switch caching off?", "Every call to this proxy goes to the media service, until the mode is switched again or the proxy ends. Other proxies are not affected.", "Switch off"],
};

async function switchMode(mode) {
  if (!(await confirmed(...SWITCHES[mode]))) return;
  const done = await ask("mode", { mode }, "POST");
  showOutcome(`The mode is ${done.mode}; it was ${done.before}.`, false, "mode-answer");
}

for (const button of $("modes").children) button.addEventListener("click", () => answering(() => switchMode(button.value), "mode-answer"));
$("model-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const what = event.submitter?.value;
  if (what === "purge") answering(purge);
  else if (what === "explain") answering(async () => showExplanation(await ask("explain", theCall())));
  else answering(async () => showLookup(await ask("lookup", theModel()), Date.now() / 1000));
});
$("tag-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const what = event.submitter?.value;
  const tag = $("tag").value;
  if (what === "purge") answering(() => purgeOf({ tag }, tag, "tag", "purge-tag"));
  else if (what === "explain") answering(async () => showExplanation(await ask("explain", { method: $("method").value, request: $("request").value || "{}" })));
  else answering(async () => showLookup(await ask("lookup", { tag }), Date.now() / 1000));
});
async function switchLevel(level) {
  const done = await ask("log-level", { level }, "POST");
  showOutcome(`The level is ${done.level}; it was ${done.before}.`, false, "level-answer");
}

for (const button of $("levels").children) button.addEventListener("click", () => answering(() => switchLevel(button.value), "level-answer"));
$("show-settings").addEventListener("click", () => answering(async () => showSettings(await ask("config", {})), "settings"));
$("count").addEventListener("click", () => answering(async () => showStored(await working("count", "Counting", "stored", ask("stored", {}))), "stored"));
$("flush").addEventListener("click", () => answering(flush));
$("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  token = $("token").value;
  $("token").value = "";
  refresh();
});
document.addEventListener("visibilitychange", () => { if (!document.hidden && $("token-form").hidden) refresh(); });
poll();
