// View: shows the proxy's state as text and tables. It only ever sets textContent, so that no text can become markup.

const $ = (id) => document.getElementById(id);

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

const percent = (share) => (share === null ? "–" : `${(share * 100).toFixed(share === 1 || share === 0 ? 0 : 1)} %`);

function duration(seconds) {
  if (seconds === null) return "–";
  if (seconds < 1) return `${+(seconds * 1000).toFixed(seconds < 0.01 ? 1 : 0)} ms`;
  return `${+seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
}

function span(seconds) {
  for (const [size, name] of [[86400, "d"], [3600, "h"], [60, "min"]]) if (seconds >= 2 * size) return `${Math.floor(seconds / size)} ${name}`;
  return `${Math.max(0, Math.floor(seconds))} s`;
}

const count = (number) => number.toLocaleString("en");
function bytes(number) {
  for (const [size, name] of [[1 << 30, "GiB"], [1 << 20, "MiB"], [1 << 10, "KiB"]]) if (number >= size) return `${+(number / size).toFixed(1)} ${name}`;
  return `${count(number)} B`;
}

const cached = (results) => results.hit + results.stale;
const total = (counts) => Object.values(counts).reduce((sum, each) => sum + each, 0);
const answers = total;

const FOCUSABLE = "button, [tabindex]";

// Replaces the content of an element, unless a person is selecting text in it; focus and scroll position are kept.
function put(id, ...nodes) {
  const place = $(id), selection = getSelection();
  if (!selection.isCollapsed && place.contains(selection.anchorNode)) return;
  const focused = [...place.querySelectorAll(FOCUSABLE)].indexOf(document.activeElement);
  const scrolled = place.querySelector(".scroll")?.scrollLeft;
  place.replaceChildren(...nodes);
  if (focused >= 0) place.querySelectorAll(FOCUSABLE)[focused]?.focus({ preventScroll: true });
  if (scrolled) place.querySelector(".scroll")?.scrollTo({ left: scrolled });
}

const pageOf = new Map();  // name of a table -> its page, which stays when the table is shown again

// A table that shows at most `size` rows at a time, with buttons to turn its pages.
function table(columns, rows, name, size = 25) {
  const made = element("div");
  const last = Math.max(0, Math.ceil(rows.length / size) - 1);
  const show = (page) => {
    if (name) pageOf.set(name, page);
    const shown = element("table");
    const head = shown.createTHead().insertRow();
    for (const column of columns) head.append(Object.assign(element("th", column), { scope: "col" }));
    const body = shown.createTBody();
    for (const row of rows.slice(page * size, (page + 1) * size)) body.append(row instanceof Node ? row : cells(row));
    const scroll = element("div", undefined, "scroll");
    Object.assign(scroll, { tabIndex: 0 });
    scroll.append(shown);
    made.replaceChildren(scroll, ...(last ? [pager(page)] : []));
  };
  const pager = (page) => {
    const bar = element("div", undefined, "row pager");
    const step = (text, to, at) => {
      const button = element("button", text);
      button.type = "button";
      button.disabled = to < 0 || to > last;
      button.addEventListener("click", () => {
        show(to);
        const buttons = made.querySelectorAll(".pager button");
        (buttons[at].disabled ? buttons[1 - at] : buttons[at]).focus();
      });
      return button;
    };
    const first = page * size;
    const where = `${count(first + 1)} to ${count(Math.min(rows.length, first + size))} of ${count(rows.length)}`;
    bar.append(step("Previous", page - 1, 0), element("span", where, "quiet"), step("Next", page + 1, 1));
    return bar;
  };
  show(Math.min(last, (name && pageOf.get(name)) || 0));
  return made;
}

function cells(texts) {
  const row = element("tr");
  row.append(...texts.map((text) => element("td", text)));
  return row;
}

function showStats(stats) {
  const recent = stats.last_5_minutes;
  const memory = stats.memory_bytes ? `, ${bytes(stats.memory_bytes)} of memory` : "";
  const crashes = stats.envoy_restarts ? `, Envoy crashed and was restarted ${count(stats.envoy_restarts)} times` : "";
  $("about").textContent = `Version ${stats.version}, up ${span(stats.uptime)}${memory}${crashes}${stats.unready ? `, ${stats.unready}` : ""}`;
  $("mode").textContent = stats.ttl > 0 ? `mode ${stats.mode}` : "CACHE_TTL is 0";
  $("mode").className = stats.mode === "on" && stats.ttl > 0 ? "badge" : "badge alert";
  $("mode").hidden = false;
  $("hit-ratio").textContent = percent(recent.hit_ratio);
  $("rate").textContent = recent.seconds > 0 ? (answers(recent.results) / recent.seconds).toFixed(1) : "–";
  $("rate-note").textContent = `per second, ${count(answers(stats.results))} in all`;
  for (const result of ["hit", "miss"]) {
    $(`${result}-p50`).textContent = duration(recent[`${result}_p50`]);
    $(`${result}-p99`).textContent = `median, p99 ${duration(recent[`${result}_p99`])}`;
  }
  const all = answers(recent.results);
  $("failures").textContent = percent(all ? (recent.results.failure || 0) / all : null);
  $("failures-note").textContent = `last 5 minutes, ${count(stats.results.failure || 0)} in all`;
  $("failures").className = recent.results.failure ? "bad" : "";
  $("refused").textContent = count(recent.refused);
  $("refused").className = recent.refused ? "bad" : "";
  $("refused-note").textContent = `last 5 minutes, ${count(total(stats.callers.refused))} in all`;
  const calls = stats.callers.limits.MAX_CONCURRENT_CALLS;
  $("in-flight").textContent = calls ? count(calls.used) : "–";
  $("in-flight-note").textContent = calls ? `of ${count(calls.limit)} allowed` : "now";
  $("saved").textContent = count(stats.results.hit + stats.results.stale + stats.results.coalesced);
  $("saved-note").textContent = `${count(stats.upstream.calls)} went upstream`;
  showMode(stats);
  showState(stats);
  showDependencies(stats);
  showCallers(stats);
  const pending = stats.invalidations.pending;
  const waiting = pending === 1 ? "1 invalidation" : `${count(pending)} invalidations`;
  $("pending").textContent = pending ? `Redis has not confirmed ${waiting} yet; reads of their models bypass the cache.` : "";
  showFlush(stats.flush);
  showReads(stats.methods);
  showTopModels(stats.top_models);
  showEvents(stats);
  showInvalidations(stats.invalidations.last, stats.now);
}

// How far a flush is, in one line.
function flushText({ services, share, tags, seconds, reason }) {
  const far = share === null ? "waiting for Redis" : `${Math.floor(share * 100)} %, ${count(tags)} models so far`;
  return `Flush of ${services.join(", ") || "everything"} (${reason}): ${far}, ${span(seconds)}.`;
}

function showFlush(flush) {
  $("flushing").hidden = !flush;
  if (!flush) return;
  const [bar, text] = $("flushing").children;
  if (flush.share === null) bar.removeAttribute("value");
  else bar.value = flush.share;
  text.textContent = flushText(flush);
}

const MODES = {
  on: () => "Calls are answered from the cache where possible.",
  off: () => "Every call goes to the media service.",
  shadow: (stats) => `The media service answers every call. Cached answers that differed so far: ${count(stats.shadow_differences)}.`,
};

function showMode(stats) {
  for (const button of $("modes").children) button.setAttribute("aria-pressed", button.value === stats.mode);
  for (const button of $("levels").children) button.setAttribute("aria-pressed", button.value === stats.log_level);
  $("mode-text").textContent = MODES[stats.mode](stats);
}

const NAMES = { redis: "Redis", rabbitmq: "RabbitMQ", upstream: "Media service" };

const VERDICTS = { well: ["well", "All is well"], limited: ["notes", "Working, with restrictions"], wrong: ["serious", "Something is wrong"] };

// Shows whether all is well, and if not, why. The proxy decides that itself; the command `stats` prints the same.
function showState({ verdict }) {
  const [className, text] = VERDICTS[verdict.state];
  $("state").className = `card ${className}`;
  $("verdict").textContent = text;
  $("reasons").replaceChildren(...verdict.reasons.map((reason) => element("li", reason)));
}

// The last answer is outdated: nothing on the page may look as if all were well now.
function showGone(since) {
  $("main").classList.add("gone");
  $("state").className = "card serious";
  $("verdict").textContent = `The proxy has not answered for ${span((Date.now() - since) / 1000)}`;
  $("reasons").replaceChildren(element("li", "Everything below is from its last answer."));
}

function dependency(id, title, state, about = "") {
  const known = state && state.up !== null && state.seconds !== null;
  const item = element("li", undefined, !known ? "absent" : !state.up ? "down" : state.reason ? "warn" : "up");
  item.id = `dependency-${id}`;
  const since = known && state.seconds !== undefined ? ` for ${span(state.seconds)}` : "";
  const why = state?.reason ? `${state.up ? ", but" : ""}: ${state.reason}` : "";
  const text = !state ? "not configured" : state.up === null ? "no call was sent to it lately" : !known ? "state not known yet" : `${state.up ? "up" : "lost"}${since}${why}`;
  item.append(element("span", undefined, "dot"), element("span", title), element("span", `${text}${about}`, "state"));
  return item;
}

function showDependencies({ dependencies, services }) {
  const items = Object.entries(NAMES).map(([name, title]) => dependency(name, title, dependencies[name]));
  const apart = services.map((each) => dependency(each.name, each.name, each, ` (${each.target})`));
  for (const item of apart) item.classList.add("service");  // its name may be long, so it gets its own row
  $("dependencies").replaceChildren(...items, ...apart);
}

function showCallers(stats) {
  const { by_status, refused, limits } = stats.callers;
  const recent = stats.last_5_minutes.statuses;
  const rows = Object.entries(by_status).map(([status, number]) => [status, count(recent[status] || 0), count(number)]);
  put("callers", rows.length ? table(["gRPC status", "Last 5 minutes", "In all"], rows) : element("p", "No call yet.", "quiet"));
  const names = [...new Set([...Object.keys(limits), ...Object.keys(refused)])];
  put("limits", table(["Limit", "In use", "", "Refused"], names.map((name) => limitRow(name, limits[name], refused[name] || 0))));
}

const UNITS = { MAX_BYTES_IN_FLIGHT: bytes, uploads: bytes };

function limitRow(name, use, refusals) {
  const row = cells([name, use ? `${(UNITS[name] || count)(use.used)} of ${(UNITS[name] || count)(use.limit)}` : "–", "", count(refusals)]);
  if (use) {
    const meter = Object.assign(document.createElement("meter"), { min: 0, max: use.limit, value: use.used, high: use.limit * 0.9, ariaLabel: `${name} in use` });
    row.children[2].append(meter);
  }
  if (refusals) row.lastChild.className = "bad";
  return row;
}

const modelName = (each) => `${each.model_type} ${each.model_id}`.trim();

function showTopModels({ seconds, models }) {
  if (!models.length) {
    put("top-models", element("p", "No reads in the last minutes.", "quiet"));
    return;
  }
  const rows = models.map((each) => [modelName(each), count(each.reads), percent(each.cached / each.reads)]);
  const about = element("p", `Reads in the last ${span(Math.max(1, seconds))}.`, "quiet");
  put("top-models", about, table(["Model", "Reads", "From the cache"], rows, "top-models", 10));
}

function showEvents(stats) {
  const parts = [];
  if (stats.queues.length) {
    const rows = stats.queues.map((queue) => {
      const row = cells([queue.name, count(queue.waiting), count(queue.consumers), `${span(queue.seconds)} ago`]);
      if (queue.waiting && !queue.consumers) row.children[2].className = "bad";
      return row;
    });
    parts.push(table(["Queue", "Waiting", "Consumers", "As of"], rows));
  }
  const outcomes = Object.entries(stats.events).filter(([, number]) => number).map(([outcome, number]) => `${count(number)} ${outcome}`);
  const configured = stats.dependencies.rabbitmq;
  const text = !configured ? "This proxy consumes no events: stored answers are served until CACHE_TTL has passed or a write through a proxy removes them." : outcomes.length ? `Events at this proxy: ${outcomes.join(", ")}.` : "No event has reached this proxy yet.";
  parts.push(element("p", text, "quiet"));
  put("events", ...parts);
}

function showInvalidations(last, now) {
  const rows = last.map((each) => {
    const row = cells([`${span(now - each.at)} ago`, each.shown, each.source, each.detail]);
    row.title = new Date(each.at * 1000).toLocaleString();
    return row;
  });
  put("invalidations", rows.length ? table(["When", "Model", "By", "Detail"], rows, "invalidations", 10) : element("p", "None since this proxy started.", "quiet"));
}

function showSettings(settings) {
  const rows = Object.entries(settings).map(([name, { value, source }]) => [name, value === "" ? "(empty)" : value, source]);
  $("settings").replaceChildren(table(["Setting", "Value", "From"], rows, "settings"));
}

function showStored(found) {
  const about = found.complete ? "" : " (at least: counting took too long to finish)";
  const size = found.bytes === null ? "" : `, about ${bytes(found.bytes)} of answers`;
  $("stored").replaceChildren(element("p", `${count(found.models)} models${about}${size}.`, "verdict"));
}
