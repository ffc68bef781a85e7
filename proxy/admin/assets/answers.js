// Answers: what was asked for, as text and tables; and the reads of services by policy alone.

// Where the policy has services of other kinds than the media service: how each read does, and forms for them.
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

// What an entry is an answer to: of the media service a collection, of others the whole request.
function what(entry) {
  if (entry.collection !== null) return entry.collection || "(all)";
  return entry.request ? `${entry.method} ${JSON.stringify(entry.request)}` : entry.field;
}

// At most ten tags, and how many more there are.
function listed(tags, number) {
  return tags.slice(0, 10).join(", ") + (number > 10 ? ` and ${number - 10} more` : "");
}

function showLookup(found, now) {
  const shown = [element("p", `${found.model_type ? `${found.model_type} ${found.model_id}` : found.tag}: ${found.entries.length} stored`, "verdict")];
  const notes = [];
  if (found.problem) notes.push(found.problem);
  if (found.invalidation_pending) notes.push("An invalidation is pending: Redis has not confirmed it yet.");
  if (found.writes?.length) notes.push("A write is under way: nothing is stored until it has ended.");
  if (found.leases?.length) notes.push(`${found.leases.length} being fetched.`);
  const last = found.last_invalidation;
  notes.push(last ? `Last invalidated ${span(now - last.at)} ago by ${last.source}, as far as this process saw.` : "Not invalidated as far as this process saw.");
  const on = [...new Set(found.entries.flatMap((entry) => entry.further_tags ?? []))].sort();
  if (on.length) notes.push(`Its answers depend on ${listed(on, on.length)} too.`);
  if (found.dependants_count) notes.push(`An invalidation also removes what is stored under ${listed(found.dependants.map((each) => each.tag), found.dependants_count)}.`);
  shown.push(...notes.map((note) => element("p", note, "quiet")));
  if (found.entries.length) {
    const rows = found.entries.map((entry) => [
      what(entry), entry.page ?? "–", entry.per_page ?? "–",
      entry.by_caller ? "one caller" : "everybody", entry.state, entry.age === null ? "–" : span(entry.age),
      entry.ttl === null ? "–" : entry.ttl > 0 ? span(entry.ttl) : "run out", entry.bytes === null ? "–" : `${count(entry.bytes)} B`, found.tier,
    ]);
    shown.push(table([found.model_type ? "Collection" : "Request", "Page", "Per page", "For", "State", "Age", "Fresh for", "Size", "Tier"], rows, "lookup"));
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
