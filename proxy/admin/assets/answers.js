// Answers: shows the answers to the forms as text and tables, and the reads of services other than the media service.

// If the policy has other services than the media service, shows their forms; if it has several reads, a table of them.
function showReads(methods) {
  const names = Object.keys(methods);
  const others = names.some((name) => name.includes("/"));
  $("tag-form").hidden = !others;
  $("by-method").hidden = names.length < 2;
  if ($("methods").children.length !== names.length) {
    $("methods").replaceChildren(...names.map((value) => Object.assign(element("option"), { value })));
  }
  const rows = names.map((name) => {
    const { hit_ratio, results } = methods[name];
    const row = cells([name, percent(hit_ratio), count(total(results)), count(results.failure)]);
    if (results.failure) row.lastChild.className = "bad";
    return row;
  });
  if (names.length > 1) put("reads", table(["Method", "From the cache", "Answers", "Failures"], rows, "reads"));
}

// The request that an entry answers: the collection for the media service, the whole request for other services.
function what(entry) {
  if (entry.collection !== null) return entry.collection || "(all)";
  return entry.request ? `${entry.method} ${JSON.stringify(entry.request)}` : entry.field;
}

// The first ten tags, and the number of further ones.
function listed(tags, number) {
  return tags.slice(0, 10).join(", ") + (number > 10 ? ` and ${number - 10} more` : "");
}

function showLookup(found, now) {
  const shown = [element("p", `${found.model_type ? `${found.model_type} ${found.model_id}` : found.tag}: ${found.entries.length} stored`, "verdict")];
  const notes = [];
  if (found.problem) notes.push(found.problem);
  if (found.invalidation_pending) notes.push("An invalidation is pending: Redis has not confirmed it yet.");
  if (found.writes?.length) notes.push("A write is in progress: nothing is stored until it has ended.");
  if (found.leases?.length) notes.push(`Fetches in progress: ${found.leases.length}.`);
  const last = found.last_invalidation;
  notes.push(last ? `Last invalidated ${span(now - last.at)} ago by ${last.source}, as seen by this process.` : "This process has seen no invalidation of it.");
  const on = [...new Set(found.entries.flatMap((entry) => entry.further_tags ?? []))].sort();
  if (on.length) notes.push(`Its answers also depend on ${listed(on, on.length)}.`);
  if (found.dependants_count) notes.push(`An invalidation also removes what is stored under ${listed(found.dependants.map((each) => each.tag), found.dependants_count)}.`);
  shown.push(...notes.map((note) => element("p", note, "quiet")));
  if (found.entries.length) {
    const rows = found.entries.map((entry) => [
      what(entry), entry.page ?? "–", entry.per_page ?? "–",
      entry.by_caller ? "one caller" : "everybody", entry.state, entry.age === null ? "–" : span(entry.age),
      entry.ttl === null ? "–" : entry.ttl > 0 ? span(entry.ttl) : "expired", entry.bytes === null ? "–" : `${count(entry.bytes)} B`, found.tier,
    ]);
    shown.push(table([found.model_type ? "Collection" : "Request", "Page", "Per page", "For", "State", "Age", "Fresh for", "Size", "Tier"], rows, "lookup"));
  }
  $("answer").replaceChildren(...shown);
}

const RESULTS = { hit: "a hit", miss: "a miss", stale: "a stale answer", bypass: "a bypass" };

function showExplanation(told) {
  const list = element("ul");
  list.append(...told.why.map((sentence) => element("li", sentence)));
  $("answer").replaceChildren(element("p", `This call would be ${RESULTS[told.result] ?? told.result}.`, "verdict"), list);
}

function showOutcome(text, failed, place = "answer") {
  $(place).replaceChildren(element("p", text, failed ? "verdict failed" : "verdict"));
}
