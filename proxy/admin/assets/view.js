// View: what the proxy says, as text and tables. Only textContent is ever set, so nothing that is shown can be markup.

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
const cached = (results) => results.hit + results.stale;
const answers = (results) => Object.values(results).reduce((sum, each) => sum + each, 0);

function table(columns, rows) {
  const made = element("table");
  const head = made.createTHead().insertRow();
  for (const column of columns) head.append(Object.assign(element("th", column), { scope: "col" }));
  const body = made.createTBody();
  for (const row of rows) body.append(cells(row));
  return made;
}

function cells(texts) {
  const row = element("tr");
  row.append(...texts.map((text) => element("td", text)));
  return row;
}

function showStats(stats) {
  const recent = stats.last_5_minutes;
  $("about").textContent = `Version ${stats.version}, up ${span(stats.uptime)}${stats.unready ? `, ${stats.unready}` : ""}`;
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
  $("saved").textContent = count(stats.results.hit + stats.results.stale + stats.results.coalesced);
  $("saved-note").textContent = `${count(stats.upstream.calls)} went upstream`;
  showMode(stats);
  showDependencies(stats.dependencies);
  const pending = stats.invalidations.pending;
  $("pending").textContent = pending ? `${count(pending)} invalidations wait for Redis; their models are read past the cache.` : "";
  showInvalidations(stats.invalidations.last, stats.now);
}

const MODES = {
  on: () => "Calls are answered from the cache where they can be.",
  off: () => "Every call goes to the media service.",
  shadow: (stats) => `The media service answers every call; the cache would have answered otherwise ${count(stats.shadow_differences)} times.`,
};

function showMode(stats) {
  for (const button of $("modes").children) button.setAttribute("aria-pressed", button.value === stats.mode);
  $("mode-text").textContent = MODES[stats.mode](stats);
}

const NAMES = { redis: "Redis", rabbitmq: "RabbitMQ", upstream: "Media service" };

function showDependencies(dependencies) {
  const items = Object.entries(NAMES).map(([name, title]) => {
    const state = dependencies[name];
    const item = element("li", undefined, !state ? "absent" : state.up ? "up" : "down");
    item.id = `dependency-${name}`;
    const since = state && state.seconds !== null ? ` for ${span(state.seconds)}` : "";
    const text = !state ? "not configured" : state.up ? `up${since}${state.reason ? `, but: ${state.reason}` : ""}` : `lost${since}${state.reason ? `: ${state.reason}` : ""}`;
    item.append(element("span", undefined, "dot"), element("span", title), element("span", text, "state"));
    return item;
  });
  $("dependencies").replaceChildren(...items);
}

function showInvalidations(last, now) {
  const rows = last.map((each) => {
    const model = each.model_type === null ? "everything" : `${each.model_type} ${each.model_id}`;
    const row = cells([`${span(now - each.at)} ago`, model, each.source, each.detail]);
    row.title = new Date(each.at * 1000).toLocaleString();
    return row;
  });
  const none = cells(["none since this proxy started"]);
  none.firstChild.className = "empty";
  none.firstChild.colSpan = 4;
  $("invalidations").replaceChildren(...(rows.length ? rows : [none]));
}

function showLookup(found, now) {
  const shown = [element("p", `${found.model_type} ${found.model_id}: ${found.entries.length} stored`, "verdict")];
  const notes = [];
  if (found.problem) notes.push(found.problem);
  if (found.invalidation_pending) notes.push("An invalidation that Redis has not taken yet is pending.");
  if (found.writes?.length) notes.push("A write is under way: nothing is stored until it has ended.");
  if (found.leases?.length) notes.push(`${found.leases.length} being fetched.`);
  const last = found.last_invalidation;
  notes.push(last ? `Last invalidated ${span(now - last.at)} ago by ${last.source}, as far as this process saw.` : "Not invalidated as far as this process saw.");
  shown.push(...notes.map((note) => element("p", note, "quiet")));
  if (found.entries.length) {
    const rows = found.entries.map((entry) => [
      entry.collection === null ? entry.field : entry.collection || "(all)", entry.page ?? "–", entry.per_page ?? "–",
      entry.by_caller ? "one caller" : "everybody", entry.state, entry.age === null ? "–" : span(entry.age),
      entry.ttl === null ? "–" : entry.ttl > 0 ? span(entry.ttl) : "run out", entry.bytes === null ? "–" : `${count(entry.bytes)} B`, found.tier,
    ]);
    shown.push(table(["Collection", "Page", "Per page", "For", "State", "Age", "Fresh for", "Size", "Tier"], rows));
  }
  $("answer").replaceChildren(...shown);
}

function showExplanation(told) {
  const list = element("ul");
  list.append(...told.why.map((sentence) => element("li", sentence)));
  $("answer").replaceChildren(element("p", `This call would be a ${told.result}.`, "verdict"), list);
}

function showOutcome(text, failed, place = "answer") {
  $(place).replaceChildren(element("p", text, failed ? "verdict failed" : "verdict"));
}
