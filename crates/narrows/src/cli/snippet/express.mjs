// Service `<<service>>`, checked by its own backend: a middleware for Express 5 (4 too).
// Printed by `narrows snippet express`; print it again when services, routes, detail types or audiences change. Node 20 or newer,
// and `npm install jose@6.2.18`:
//
//     import { narrows } from "./narrows.mjs";
//     app.set("case sensitive routing", true);         // so that `/ADMIN` is no `/admin` to Express either,
//     app.set("strict routing", true);                 // and `/admin/` none
//     app.use(narrows());                              // before every parser of bodies and before every route
//     req.narrows                                      // who asks and what for; null on a public route
//
// A body that was read here stands in `req.body`, and parsers leave it alone. Tokens may have 16 KiB, and so have all headers of a
// request together unless Node is told otherwise: node --max-http-header-size=65536.
//
// A request goes on if it shows, once and in `Authorization: Bearer` alone, a token of this installation for <<audience>>
// that holds now, allows this very request, and no more than excess = "<<excess>>" lets it. Whatever is not allowed here is refused.
//
// What a guard does (`[[guards]]`, or the crate narrows-guard) and this does not:
// - It hears of no revocation: a token is good until it ends, at most <<max_lifetime>> s after it was issued.
// - It cannot ask whether a token was used: one for a single use is refused.
// - It honours no exception, which may be withdrawn meanwhile: what one lifts is refused like everything else.
// - It takes no proof of a key: a token with `cnf`, and the scheme DPoP, are refused. So are opaque tokens.
// - Nothing is on record at the broker, neither refusals nor use, and a token that is shown from two places is not noticed.
// - A response goes on when its token ends meanwhile. WebSockets never come here.
// - It looks into no body that the route does not read, but forms (`application/x-www-form-urlencoded`): in JSON that goes by, or in
//   `multipart/form-data`, a token or a `_method` goes on. Forms on public routes may have 64 KiB.
// - What a proxy says of addresses and certificates, in `X-Forwarded-For`, `Client-Cert` and the like, stays, whoever sent it: believe
//   it only if that proxy alone reaches this program. What says who asks (`Remote-User`, `X-Forwarded-User`) is refused.
// - `mode = "observe"` means nothing here: everything is enforced, from the first request on.
import { parse as parseForm } from "node:querystring";
import { compactVerify, importJWK } from "jose";

/** A request that does not go on, by its reason. */
class Refused extends Error {
  constructor(reason, ...parameters) {
    super(reason);
    this.reason = reason;
    this.parameters = parameters;
  }
}

// --- JSON: no member twice, no deeper than said. Objects are Maps, so that no name means anything; a number that is no integer which
// every reader reads alike is an Inexact.

class Inexact {}
const INEXACT = new Inexact();
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function readJson(data, depth) {
  const text = utf8.decode(data);
  let at = 0;
  const fail = () => { throw new SyntaxError("not acceptable as JSON"); };
  const blanks = () => { while (at < text.length && " \t\n\r".includes(text[at])) at += 1; };
  const take = (pattern) => {
    pattern.lastIndex = at;
    const found = pattern.exec(text);
    if (!found) fail();
    at += found[0].length;
    return found[0];
  };
  const string = () => {
    const found = JSON.parse(take(/"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9A-Fa-f]{4}))*"/y));
    // Half a character of UTF-16 is none.
    return found.isWellFormed() ? found : fail();
  };
  const items = (close, item) => {
    at += 1;
    for (let first = true; ; first = false) {
      blanks();
      if (first && text[at] === close) break;
      if (!first) {
        if (text[at] === close) break;
        if (text[at] !== ",") fail();
        at += 1;
        blanks();
      }
      item();
    }
    at += 1;
  };
  const value = (left) => {
    blanks();
    const first = text[at];
    if ((first === "{" || first === "[") && left === 0) fail();
    if (first === "{") {
      const members = new Map();
      items("}", () => {
        const name = string();
        blanks();
        if (text[at] !== ":" || members.has(name)) fail();
        at += 1;
        members.set(name, value(left - 1));
      });
      return members;
    }
    if (first === "[") {
      const found = [];
      items("]", () => found.push(value(left - 1)));
      return found;
    }
    if (first === '"') return string();
    if (first === "t" || first === "f" || first === "n") return JSON.parse(take(/true|false|null/y));
    const number = take(/-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y);
    if (!Number.isFinite(Number(number))) fail();
    const exact = /^(?:0|-?[1-9][0-9]*)$/.test(number) && Number.isSafeInteger(Number(number));
    return exact ? Number(number) : INEXACT;
  };
  const found = value(depth);
  blanks();
  return at === text.length ? found : fail();
}

function isWithin(value, depth) {
  if (!(value instanceof Map) && !Array.isArray(value)) return true;
  return depth > 0 && [...value.values()].every((each) => isWithin(each, depth - 1));
}

const RULES = readJson(Buffer.from(String.raw`
<<rules>>
`.trim()), 32);
const rule = (name) => RULES.get(name);
const isText = (value) => typeof value === "string" && value !== "";
const isInteger = (value) => typeof value === "number";
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/;
const BLANK = "[\\x00- \\x7f-\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000\\ufeff]";
const BLANK_AT_AN_END = new RegExp(`^${BLANK}|${BLANK}$`);

// --- The request: one path, one host, one credential, to every reader.

function callOf(req) {
  const headers = [];
  for (let at = 0; at < req.rawHeaders.length; at += 2) headers.push([req.rawHeaders[at].toLowerCase(), req.rawHeaders[at + 1]]);
  const all = (name) => headers.filter(([each]) => each === name).map(([, value]) => value);
  const target = req.originalUrl ?? req.url;
  const malformed = (holds) => { if (!holds) throw new Refused("malformed_request"); };
  malformed(req.method.length <= 32 && target.length <= 16384 && /^[!-~]*$/.test(target) && !target.includes("#"));
  const hosts = all("host");
  const host = hosts.length === 1 && /^([a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?$/.exec(hosts[0].toLowerCase());
  malformed(host && host[1].length <= 255 && Number(host[2] ?? 0) <= 65535);
  const named = all("connection").flatMap((line) => line.split(",")).map((name) => name.trim().toLowerCase());
  malformed(!headers.some(([name]) => isForged(name)) && !named.some(isKept));
  const mark = target.indexOf("?");
  const types = all("content-type").map((type) => type.toLowerCase());
  const says = (...words) => words.some((word) => types.some((type) => type.includes(word)));
  const otherLetters = says("charset") && !says("utf-8", "us-ascii", "iso-8859-1", "windows-1252");
  const [isForm, isCoded] = [says("x-www-form-urlencoded"), all("content-encoding").length > 0];
  return {
    headers, all, target, method: req.method, host: host[1],
    query: mark < 0 ? "" : target.slice(mark + 1),
    segments: segmentsOf(mark < 0 ? target : target.slice(0, mark)),
    isForm, isCoded,
    isHidden: isForm && (isCoded || says("multipart/") || otherLetters), // nobody can look into it
    isJson: types.length === 1 && /^[ \t]*application\/json[ \t]*(;[ \t]*(charset=utf-8|charset="utf-8")?[ \t]*)?$/.test(types[0]),
  };
}

const spelt = (name) => name.replace(/[^a-z0-9]/g, "-").replace(/^-+|-+$/g, "");
const isAllOf = (name, pattern) => new RegExp(`^(?:${rule(pattern)})$`).test(name);

/** Whether a header, in any spelling, says who asks, as a guard alone may, or another method or path. */
function isForged(name) {
  return isAllOf(spelt(name), "forged") || (["authorization", "dpop"].includes(spelt(name)) && spelt(name) !== name);
}

/** Whether `Connection` may not name a header, since it is decided on, or a proxy's. */
const isKept = (name) => isForged(name) || isAllOf(name, "decided_on") || isAllOf(spelt(name), "of_proxies");

/** What stands between `%` and its digits, decoded once; bytes as Latin-1. */
const unquoted = (text) => text.replace(/%([0-9A-Fa-f]{2})/g, (_, digits) => String.fromCharCode(parseInt(digits, 16)));

function decode(text) {
  if (/%(?![0-9A-Fa-f]{2})/.test(text)) throw new Refused("malformed_request");
  let decoded;
  try {
    decoded = utf8.decode(Buffer.from(unquoted(text), "latin1"));
  } catch {
    throw new Refused("malformed_request");
  }
  if (CONTROL.test(decoded)) throw new Refused("malformed_request");
  return decoded;
}

/** Whether a text, or any in a value of JSON, begins or ends with what some reader drops. */
function hasBlankEnd(value) {
  if (value instanceof Map) return [...value].some(hasBlankEnd);
  return Array.isArray(value) ? value.some(hasBlankEnd) : typeof value === "string" && BLANK_AT_AN_END.test(value);
}

/** The segments of a path that no other reader would take for another one. */
function segmentsOf(path) {
  if (!path.startsWith("/")) throw new Refused("malformed_request");
  const raw = path.slice(1).split("/");
  const dots = (text) => text.split(".").length;
  return raw.map((text, at) => {
    const each = decode(text);
    const bad = (text === "" && at + 1 < raw.length) || each === "." || each === ".." || hasBlankEnd(each);
    if (bad || /[/\\;?#]|%[0-9A-Fa-f]{2}/.test(each) || dots(each) !== dots(text)) throw new Refused("malformed_request");
    return each;
  });
}

/** The route of a request, and what its path names; the routes stand in the order in which they are tried. */
function find(call) {
  const dot = call.host.indexOf(".");
  const parent = dot < 0 ? "" : `*${call.host.slice(dot)}`;
  if (!rule("hosts").includes(call.host) && !rule("hosts").includes(parent)) throw new Refused("no_route");
  for (const route of rule("routes")) {
    const values = route.get("method") === call.method && captured(route.get("path"), call.segments);
    if (!values) continue;
    const unlike = route.get("unlike").map((at) => rule("routes")[at].get("path"));
    if (unlike.some((pieces) => resembles(pieces, call.segments))) throw new Refused("malformed_request");
    return [route, values];
  }
  throw new Refused("no_route");
}

/** Whether a less strict reader takes a path for a route's: one to whom case, a slash at the end and an extension are of no account. */
function resembles(pieces, found) {
  const bare = (items) => (items.at(-1) === "" ? items.slice(0, -1) : items);
  const oneCase = (text) => text.replace(/[\u0130\u0131]/g, "i").replace(/\u017f/g, "s").replace(/\u212a/g, "k").toLowerCase();
  const [wanted, seen] = [bare(pieces), bare(found)];
  for (const [at, piece] of wanted.entries()) {
    if (at === seen.length) return false;
    if (typeof piece !== "string") {
      if (piece.has("rest")) return true;
      continue;
    }
    const [whole, isLast] = [seen[at], at + 1 === seen.length];
    const stems = isLast ? [whole, whole.split(".", 1)[0], whole.slice(0, Math.max(whole.lastIndexOf("."), 0))] : [whole];
    if (!stems.some((stem) => oneCase(stem) === oneCase(piece))) return false;
  }
  return wanted.length === seen.length;
}

function captured(pieces, found) {
  const values = new Map();
  for (const [at, piece] of pieces.entries()) {
    if (at >= found.length) return null;
    if (typeof piece === "string") {
      if (piece !== found[at]) return null;
      continue;
    }
    if (found[at] === "") return null;
    if (piece.has("rest")) return values.set(piece.get("rest"), found.slice(at).join("/"));
    values.set(piece.get("one"), found[at]);
  }
  return pieces.length === found.length ? values : null;
}

/** The token, and whether it is shown as DPoP; null where nothing is shown. */
function credential(call) {
  if (namesIn(call.query).some(isToken)) throw new Refused("malformed_request");
  const lines = call.all("authorization");
  if (lines.length === 0) return null;
  const parts = /^([^ ]*) ([A-Za-z0-9._~+/-]+=*)$/.exec(lines[0]);
  const scheme = parts?.[1].toLowerCase();
  if (lines.length > 1 || (scheme !== "bearer" && scheme !== "dpop") || parts[2].length > 16384) throw new Refused("malformed_request");
  refuseRepeated(parts[2], [call.target, ...call.headers.filter(([name]) => name !== "authorization").map(([, value]) => value)]);
  return [parts[2], scheme === "dpop"];
}

/**
 * What is signed stands nowhere else, since one signature may have two spellings, nor does the signature, by which the token may be
 * known: neither as they are nor decoded once.
 */
function refuseRepeated(token, texts) {
  const end = token.lastIndexOf(".");
  const signed = token.slice(0, Math.max(end, 0));
  const words = [signed.includes(".") ? signed : "", token.slice(end + 1)].filter((word) => word.length >= 20);
  const isIn = (text) => words.some((word) => text.includes(word) || unquoted(text).includes(word));
  if (texts.some(isIn)) throw new Refused("malformed_request");
}

/** A body that was read holds no token, and no other method where it is a form; one in a coding could hold anything. */
function lookInto(call, body, token) {
  const text = body.toString("latin1");
  const isBad = () => call.isHidden || namesIn(text).some((name) => isToken(name) || isMethod(name));
  if (call.isForm && body.length > 0 && isBad()) throw new Refused("malformed_request");
  if (token) refuseRepeated(token, [text]);
}

/** The names in a query or form, as the most lenient reader finds them. */
function namesIn(pairs) {
  const decoded = (name) => Buffer.from(unquoted(name.replaceAll("+", " ")), "latin1").toString("utf8").trim();
  return pairs.split(/[&;]/).map((pair) => decoded(pair.split("=", 1)[0]));
}

const stem = (name) => name.replace(/^\[+/, "").split(/[\[\]\0]/, 1)[0];

function isToken(name) {
  const written = name.toLowerCase().replace(/[ .]/g, "_");
  return [stem(written), written.replaceAll("[", "_")].includes("access_token");
}

/** Whether somebody may take this for `_method` or `X-HTTP-Method-Override`, and so for the method of the request. */
const METHOD_NAME = new RegExp("^(?:=method|x=http=method=override)$".replaceAll("=", "[^\\p{Alphabetic}\\p{N}]"), "iu");
const isMethod = (name) => [name, stem(name)].some((each) => METHOD_NAME.test(each));

// --- The token: who signed it, and what it says.

/**
 * The broker's keys, fetched when they are needed: again after five minutes, and for a key that is not known, at most twice a minute.
 * Without the broker they serve for an hour. No redirect is followed.
 */
class Keys {
  keys = null;
  fetched = -Infinity;
  tried = -Infinity;
  fetching = null;

  /** What is there within five seconds: `fetch` may forget its signal once the head of the reply is there. */
  fetch() {
    const over = new AbortController();
    let late;
    const ended = new Promise((_, refuse) => {
      late = setTimeout(() => { over.abort(); refuse(new Error("no key set")); }, 5000);
    });
    return Promise.race([this.read(over.signal), ended]).finally(() => clearTimeout(late));
  }

  async read(signal) {
    const reply = await fetch(rule("jwks_uri"), { redirect: "error", signal });
    const chunks = [];
    let length = 0;
    for await (const chunk of reply.body) {
      length += chunk.length;
      if (length > 262144 || signal.aborted) throw new Error("no key set");
      chunks.push(chunk);
    }
    if (reply.status !== 200) throw new Error("no key set");
    return keySet(readJson(Buffer.concat(chunks), 16));
  }

  async refresh(againAfter) {
    // Nobody waits for a fetch who can do without.
    if (this.fetching) return this.keys ? undefined : this.fetching;
    if (performance.now() - this.tried < againAfter * 1000) return undefined;
    this.tried = performance.now();
    this.fetching = this.fetch().then(
      (keys) => { this.keys = keys; this.fetched = performance.now(); },
      () => {}, // what was good stays good for a while
    ).finally(() => { this.fetching = null; });
    return this.fetching;
  }

  async find(kid, algorithm) {
    const age = () => performance.now() - this.fetched;
    if (!this.keys || age() > 300_000) await this.refresh(this.keys ? 30 : 2);
    if (kid !== undefined && !(this.keys ?? []).some((key) => key.kid === kid)) await this.refresh(30);
    if (!this.keys || age() > 3_600_000) throw new Refused("issuer_unavailable");
    const fitting = this.keys.filter((key) => key.algorithm === algorithm && (kid === undefined || key.kid === kid));
    if (fitting.length !== 1) throw new Refused("subject_token_invalid");
    return fitting[0].key;
  }
}

/** The keys of a set that are good for signatures, each for one algorithm. */
async function keySet(members) {
  const listed = members instanceof Map && members.get("keys");
  if (!Array.isArray(listed) || listed.some((key) => key instanceof Map && key.get("kty") === "oct")) throw new Error("no key set");
  const usable = (await Promise.all(listed.slice(0, 100).map(usableKey))).filter((key) => key !== null);
  const names = usable.map((key) => key.kid).filter((kid) => kid !== undefined);
  if (usable.length === 0 || new Set(names).size !== names.length) throw new Error("no usable key, or two of one name");
  return usable;
}

async function usableKey(jwk) {
  if (!(jwk instanceof Map) || jwk.has("d") || (jwk.has("use") && jwk.get("use") !== "sig")) return null;
  const [operations, kid] = [jwk.has("key_ops") ? jwk.get("key_ops") : ["verify"], jwk.get("kid")];
  const natural = { "EC P-256": ["ES256"], "OKP Ed25519": ["EdDSA"], "RSA ": ["RS256", "PS256"] }[`${jwk.get("kty")} ${jwk.get("crv") ?? ""}`];
  if (!Array.isArray(operations) || !operations.includes("verify") || (jwk.has("kid") && typeof kid !== "string") || !natural) return null;
  const alg = jwk.has("alg") ? jwk.get("alg") : natural.length === 1 && natural[0];
  const algorithm = alg === "Ed25519" ? "EdDSA" : alg;
  if (!natural.includes(algorithm) || !rule("algorithms").includes(algorithm)) return null;
  try {
    const members = ["kty", "crv", "x", "y", "n", "e"].filter((name) => jwk.has(name)).map((name) => [name, jwk.get(name)]);
    const bytes = (name) => decode64(jwk.get(name));
    if (jwk.get("kty") === "RSA") {
      const [n, e] = [bytes("n"), bytes("e")];
      if (n.length < 256 || n.length > 1024 || BigInt(`0x${e.toString("hex")}`) < 65537n) return null;
    }
    return { kid, algorithm, key: await importJWK(Object.fromEntries(members), algorithm) };
  } catch {
    return null;
  }
}

/** base64url as it is written by everybody: no padding, unused bits zero. */
function decode64(text) {
  const data = Buffer.from(text, "base64url");
  if (data.toString("base64url") !== text) throw new SyntaxError("not canonical");
  return data;
}

/** The claims of an access token that the broker signed. */
async function authentic(token, keys) {
  const invalid = (holds) => { if (!holds) throw new Refused("subject_token_invalid"); };
  let parts;
  try {
    parts = token.split(".").map(decode64);
    invalid(parts.length === 3 && parts[2].length > 0);
    parts = [readJson(parts[0], 64), readJson(parts[1], 64)];
  } catch {
    throw new Refused("subject_token_invalid");
  }
  const [header, claims] = parts;
  invalid(header instanceof Map && claims instanceof Map);
  invalid(!["crit", "jku", "x5u", "jwk", "zip", "b64"].some((name) => header.has(name)));
  const [algorithm, kid, typ] = [header.get("alg"), header.get("kid"), header.get("typ")];
  invalid(rule("algorithms").includes(algorithm) && typeof typ === "string");
  invalid(!header.has("kid") || (typeof kid === "string" && Buffer.byteLength(kid) <= 512));
  invalid(typ.toLowerCase().replace(/^application\//, "") === "at+jwt" && claims.get("iss") === rule("issuer"));
  const key = await keys.find(kid, algorithm);
  try {
    await compactVerify(token, key, { algorithms: [algorithm] });
  } catch {
    throw new Refused("subject_token_invalid");
  }
  return claims;
}

/** What the token says, every claim of its own type: a malformed one is never an absent one. */
function says(claims) {
  const invalid = (holds) => { if (!holds) throw new Refused("subject_token_invalid"); };
  const isDate = (value) => isInteger(value) && value >= 0;
  const areTexts = (value) => Array.isArray(value) && value.every((each) => typeof each === "string");
  const optional = (name, fits) => invalid(!claims.has(name) || fits(claims.get(name)));
  invalid(isWithin(claims, rule("max_chain") + 8));
  for (const name of ["sub", "jti", "client_id", "txn"]) invalid(isText(claims.get(name)));
  for (const name of ["task", "approval", "acr", "scope"]) optional(name, (value) => typeof value === "string");
  for (const name of ["iat", "exp"]) invalid(isDate(claims.get(name)));
  for (const name of ["nbf", "auth_time"]) optional(name, isDate);
  optional("chain", areTexts);
  optional("onward", Array.isArray);
  optional("single_use", (value) => typeof value === "boolean");
  const scopes = [...new Set(claims.has("scope") ? claims.get("scope").split(" ") : [])].sort();
  invalid(scopes.every((scope) => /^[!#-[\]-~]{1,255}$/.test(scope)) && /^[!-~]{1,255}$/.test(claims.get("client_id")));
  const audiences = typeof claims.get("aud") === "string" ? [claims.get("aud")] : claims.get("aud");
  invalid(Array.isArray(audiences) && audiences.length > 0 && audiences.every(isText));
  const pair = claims.get("sub_id");
  invalid(pair instanceof Map && isText(pair.get("iss")) && isText(pair.get("sub")) && /^[^\u0000-\u001f\u007f]{1,255}$/su.test(pair.get("sub")));
  const actors = [];
  for (let level = claims.get("act"), more = claims.has("act"); more; more = level.has("act"), level = level.get("act")) {
    invalid(level instanceof Map && actors.length < rule("max_chain") && isText(level.get("iss")) && isText(level.get("sub")));
    invalid([...level.keys()].every((name) => ["iss", "sub", "act"].includes(name)));
    actors.push({ iss: level.get("iss"), sub: level.get("sub") });
  }
  try {
    const details = claims.has("authorization_details") ? detailList(claims.get("authorization_details"), false) : [];
    if (claims.has("exception")) mustBeException(claims.get("exception"));
    return { details, scopes, audiences, actors, pair: { iss: pair.get("iss"), sub: pair.get("sub") } };
  } catch {
    throw new Refused("subject_token_invalid");
  }
}

/** An exception lifts nothing here, and is still what it ought to be. */
function mustBeException(claim) {
  must(claim instanceof Map && [...claim.keys()].every((name) => ["id", "authorization_details", "max_lifetime"].includes(name)));
  const life = claim.has("max_lifetime") ? claim.get("max_lifetime") : 1;
  must(isText(claim.get("id")) && isInteger(life) && life > 0);
  if (claim.has("authorization_details")) detailList(claim.get("authorization_details"), true);
}

/** That it is for this service, now, and for whoever bears it; `now` in milliseconds. */
function holds(claims, audiences, isDpop, now) {
  if (audiences.length !== 1 || audiences[0] !== rule("audience")) throw new Refused("subject_token_not_for_client");
  const [exp, iat, nbf] = [claims.get("exp"), claims.get("iat"), claims.get("nbf") ?? 0];
  if (exp <= iat || (claims.has("nbf") && nbf >= exp) || iat * 1000 > now || nbf * 1000 > now) throw new Refused("subject_token_invalid");
  if (exp * 1000 - now < 1000) throw new Refused("subject_token_expired");
  if (exp - iat > rule("max_lifetime")) throw new Refused("subject_token_invalid");
  if (claims.has("cnf")) {
    const bound = claims.get("cnf");
    throw new Refused(bound instanceof Map && typeof bound.get("jkt") === "string" ? "invalid_dpop_proof" : "subject_token_invalid");
  }
  if (isDpop) throw new Refused("invalid_dpop_proof");
}

// --- Details, and their order. What does not fit throws.

const isDistinct = (items) => items.length > 0 && items.every(isText) && new Set(items).size === items.length;

function must(holds) {
  if (!holds) throw new TypeError("no detail of a declared type");
}

/** A value of a constraint as it is compared. */
function constraint(order, value) {
  const isPath = (text) => !/[%\\\u0000-\u001f\u007f-\u009f]/.test(text)
    && !text.replace(/^\//, "").split("/").some((each) => ["", ".", ".."].includes(each));
  const good = {
    equal: () => typeof value === "boolean" || isInteger(value) || isText(value),
    at_most: () => isInteger(value) && value >= 0,
    prefix: () => typeof value === "string" && isPath(value),
    subset: () => Array.isArray(value) && isDistinct(value),
    one_of: () => isText(value) || (Array.isArray(value) && isDistinct(value)),
  };
  must(good[order]());
  return order === "one_of" && typeof value === "string" ? [value] : value;
}

/** One detail of a declared type; a ceiling without an identifier stands for every resource. */
function detailOf(value, isCeiling) {
  must(value instanceof Map && isText(value.get("type")));
  const declared = rule("types").get(value.get("type"));
  const [actions, identifier, locations] = [value.get("actions"), value.get("identifier"), value.get("locations")];
  must(declared && Array.isArray(actions) && isDistinct(actions) && actions.length <= 32);
  const bounded = new Set();
  const unfit = value.has("identifier") ? "none" : isCeiling ? null : "required";
  for (const action of actions) {
    const known = declared.get("actions").get(action);
    must(known && known.get("identifier") !== unfit);
    for (const name of known.get("constraints")) bounded.add(name);
  }
  must(!value.has("locations") || (Array.isArray(locations) && isDistinct(locations)));
  const named = [...(value.has("identifier") ? [identifier] : []), ...(locations ?? [])];
  must(named.every((each) => isText(each) && Buffer.byteLength(each) <= 1024 && !CONTROL.test(each)));
  const constraints = new Map();
  for (const [name, each] of value) {
    if (["type", "actions", "identifier", "locations"].includes(name)) continue;
    must(declared.get("constraints").has(name) && bounded.has(name));
    constraints.set(name, constraint(declared.get("constraints").get(name), each));
  }
  return { type: value.get("type"), actions, identifier, locations, constraints };
}

function detailList(value, isCeiling) {
  must(Array.isArray(value) && value.length <= 32);
  return value.map((each) => detailOf(each, isCeiling));
}

const atoms = (details) => details.flatMap((detail) => detail.actions.map((action) => ({ detail, action })));

function isNarrower(order, inner, outer) {
  if (order === "equal") return inner === outer;
  if (order === "at_most") return inner <= outer;
  if (order === "prefix") return inner === outer || inner.startsWith(`${outer}/`);
  return inner.every((item) => outer.includes(item));
}

/** Whether one action of a token's detail allows one action of a needed one. */
function covers(held, needed) {
  if (held.detail.type !== needed.detail.type || held.action !== needed.action) return false;
  if (held.detail.identifier !== undefined && held.detail.identifier !== needed.detail.identifier) return false;
  return exceeded(needed.detail, held.detail, held.action, true).length === 0;
}

/** The constraints in which `inner` is wider than `outer`: absent is unbounded. Those with one value are looked at `withEqual`. */
function exceeded(inner, outer, action, withEqual) {
  const declared = rule("types").get(inner.type);
  const wider = declared.get("actions").get(action).get("constraints").filter((name) => {
    const [order, bound, value] = [declared.get("constraints").get(name), outer.constraints.get(name), inner.constraints.get(name)];
    if (bound === undefined || (order === "equal" && !withEqual)) return false;
    return value === undefined || !isNarrower(order, value, bound);
  });
  const elsewhere = outer.locations !== undefined && !(inner.locations?.every((each) => outer.locations.includes(each)) ?? false);
  return elsewhere ? [...wider, "locations"] : wider;
}

/** Whether an action of a token's detail is more than the mode lets it be beside one detail that is needed. */
function isSurplus({ detail, action }, needed, wider) {
  if (detail.type !== needed.type || detail.identifier !== needed.identifier) return true;
  const [declared, exact] = [rule("types").get(detail.type), rule("excess") === "none"];
  const other = (name) => declared.get("constraints").get(name) === "equal"
    && detail.constraints.get(name) !== (needed.constraints.has(name) ? needed.constraints.get(name) : rule("fixed").get(name));
  if (declared.get("actions").get(action).get("constraints").some(other)) return true;
  if (exceeded(detail, needed, action, false).some((name) => exact || !wider.includes(name))) return true;
  return exact && (!needed.actions.includes(action) || exceeded(needed, detail, action, false).length > 0);
}

// --- What the request needs.

const folded = (name) => name.toUpperCase().toLowerCase();
const foldedName = (name) => folded(name.split("[", 1)[0].trim()).replace(/[. ]/g, "_");

function refuseAnotherMethod(call, read) {
  if (namesIn(call.query).some((name) => isMethod(name) && !read.includes(name))) throw new Refused("malformed_request");
}

/** What the route reads of the query; nothing may come along that another reader takes for it. */
function readQuery(call, reads) {
  const [wanted, found] = [reads.get("query"), new Map()];
  for (const pair of wanted.length > 0 && call.query !== "" ? call.query.split("&") : []) {
    const mark = pair.indexOf("=");
    const [raw, value] = mark < 0 ? [pair, ""] : [pair.slice(0, mark), pair.slice(mark + 1)];
    if (pair.includes(";") || raw.includes("+")) throw new Refused("malformed_request");
    const [name, decoded] = [decode(raw), decode(value)];
    if (!wanted.includes(name)) {
      const listed = reads.get("query_pass") || reads.get("query_only").includes(name);
      if (!listed || wanted.some((each) => foldedName(each) === foldedName(name))) throw new Refused("unread_input");
      continue;
    }
    if (value.includes("+") || found.has(name)) throw new Refused("malformed_request");
    found.set(name, decoded);
  }
  return found;
}

function readBody(call, body, reads) {
  if (reads.get("body") === null || body.length === 0) return undefined;
  let value;
  try {
    value = readJson(body, 8);
  } catch {
    throw new Refused("malformed_request");
  }
  if (!call.isJson || call.isCoded || !(value instanceof Map)) throw new Refused("malformed_request");
  refuseUnread(reads.get("body"), value, reads.get("body_pass"));
  return value;
}

function refuseUnread(shape, members, mayPass) {
  for (const [name, value] of members) {
    const inner = shape.get("members").get(name);
    if (inner === undefined) {
      const listed = shape.get("whole") || shape.get("names") || mayPass;
      const alike = [...shape.get("members").keys()].some((each) => folded(each) === folded(name));
      if (!listed || alike) throw new Refused("unread_input");
    } else if (value instanceof Map && !inner.get("whole")) {
      refuseUnread(inner, value, mayPass);
    } else if (!inner.get("whole") && !inner.get("names")) {
      throw new Refused("unread_input");
    }
  }
}

/** Fills templates with the values of one request; throws for one that is not there. */
class Values {
  constructor(call, path, query, body) {
    Object.assign(this, { host: call.host, path, query, body });
  }

  json(source) {
    const value = this.asSaid(source);
    if (hasBlankEnd(value)) throw new Refused("malformed_request");
    return value;
  }

  asSaid(source) {
    const [[kind, place]] = source;
    if (kind === "host") return this.host.split(".", 1)[0];
    if (kind === "path" || kind === "query") {
      must(this[kind].has(place));
      return this[kind].get(place);
    }
    let value = this.body;
    for (const name of place) {
      must(value instanceof Map && value.has(name));
      value = value.get(name);
    }
    if (kind === "body") return value;
    must(value instanceof Map && value.size > 0);
    return [...value.keys()];
  }

  text(pieces) {
    return pieces.reduce((filled, piece, at) => {
      if (typeof piece === "string") return filled + piece;
      const value = this.json(piece);
      must(isText(value));
      // Of two values, the first ends where the text between them begins, and nowhere before.
      must(at + 2 >= pieces.length || (value + pieces[at + 1]).indexOf(pieces[at + 1]) === value.length);
      return filled + value;
    }, "");
  }

  integer(source) {
    const value = this.json(source);
    if (isInteger(value)) return value;
    must(typeof value === "string" && !source.has("body") && /^(?:0|-?[1-9][0-9]*)$/.test(value) && Number.isSafeInteger(Number(value)));
    return Number(value);
  }

  list(items) {
    const each = (item) => (item.has("text") ? this.text(item.get("text")) : this.json(item.get("several")));
    return [...new Set(items.flatMap(each))];
  }

  detail(template) {
    const value = new Map(template.get("fixed"));
    if (template.has("identifier")) value.set("identifier", this.text(template.get("identifier")));
    for (const [name, member] of template.get("members")) {
      const [[kind, what]] = member;
      value.set(name, this[kind](what));
    }
    return detailOf(value, false);
  }
}

/** The details that the request needs, to the byte, without what is fixed. */
function neededBy(call, route, path, body) {
  refuseAnotherMethod(call, route.get("reads").get("query"));
  const query = readQuery(call, route.get("reads"));
  const values = new Values(call, path, query, readBody(call, body, route.get("reads")));
  try {
    const found = route.get("detail") ? [values.detail(route.get("detail"))] : [];
    for (const template of route.get("onward")) values.detail(template);
    return found;
  } catch (error) {
    throw error instanceof Refused ? error : new Refused("malformed_details");
  }
}

/** With what is fixed; a request for another value is for somebody else's resource. */
function fix(details) {
  for (const { type, actions, constraints } of details) {
    for (const [name, value] of rule("fixed")) {
      const declared = actions.some((action) => rule("types").get(type).get("actions").get(action).get("constraints").includes(name));
      if (!declared) continue;
      if (!constraints.has(name)) constraints.set(name, value);
      if (constraints.get(name) !== value) throw new Refused("wider_than_subject");
    }
  }
  return details;
}

// --- The middleware.

const NOTHING = Buffer.alloc(0);

/** How many bytes are held of all bodies. */
let held = 0;

/** All of a body: no more than `most` bytes, and `ofAll` with those of others, within ten seconds. */
function bodyOf(req, res, most, ofAll) {
  return new Promise((resolve, reject) => {
    const chunks = [];
    let length = 0;
    const done = (settle, outcome) => {
      clearTimeout(late);
      req.off("data", take).off("end", end).off("close", gone).pause();
      settle(outcome);
    };
    const refuse = (reason) => done(reject, new Refused(reason));
    const take = (chunk) => {
      chunks.push(chunk);
      length += chunk.length;
      held += chunk.length;
      if (length > most) refuse("too_large");
      else if (held > ofAll) refuse("rate_limited");
    };
    const end = () => done(resolve, (req.narrowsBody = Buffer.concat(chunks)));
    const gone = () => refuse("malformed_request");
    const late = setTimeout(gone, 10_000);
    res.once("close", () => { held -= length; });
    req.on("data", take).on("end", end).on("close", gone);
    if (res.destroyed) gone();
  });
}

async function check(req, res, keys) {
  // 1. One credential, in the one place for it, and a route to every reader. Nobody's body is waited for who shows no token, but a small
  //    form on a public route, which may hold one.
  const call = callOf(req);
  const shown = credential(call);
  const [route, path] = find(call);
  if (route.get("public")) {
    refuseAnotherMethod(call, []);
    if (call.isForm) lookInto(call, await bodyOf(req, res, 2 ** 16, 2 ** 24), shown?.[0]);
    return [call, null];
  }
  if (shown === null) throw new Refused("no_token");
  const [token, isDpop] = shown;
  // 2. Signed by the broker, as an access token; and what it says holds here and now.
  const claims = await authentic(token, keys);
  const { details, scopes, audiences, pair, actors } = says(claims);
  const now = Date.now();
  holds(claims, audiences, isDpop, now);
  // 3. What the request needs, to the byte. A stranger is not told what that would be.
  const reads = call.isForm || route.get("reads").get("body") !== null;
  const body = reads ? await bodyOf(req, res, route.get("body_max"), 2 ** 26) : NOTHING;
  lookInto(call, body, token);
  const required = fix(neededBy(call, route, path, body));
  // 4. The token allows that.
  const has = atoms(details);
  const allowed = atoms(required).every((wanted) => has.some((atom) => covers(atom, wanted)));
  if (!allowed || !route.get("scopes").every((scope) => scopes.includes(scope))) throw new Refused("wider_than_subject");
  // 5. The person signed in as the route asks (RFC 9470).
  const [age, acr] = [route.get("max_auth_age"), route.get("acr")];
  const since = now - (claims.get("auth_time") ?? Infinity) * 1000;
  if ((age !== null && !(since >= 0 && since <= age * 1000)) || (acr !== null && claims.get("acr") !== acr)) {
    const asked = [...(acr !== null ? [`acr_values="${acr}"`] : []), ...(age !== null ? [`max_age=${age}`] : [])];
    throw new Refused("insufficient_user_authentication", ...asked);
  }
  // 6. It allows no more than the mode lets it.
  if (rule("excess") !== "any") {
    const isMore = (atom) => required.every((each) => isSurplus(atom, each, route.get("wider")));
    if (!scopes.every((scope) => route.get("scopes").includes(scope)) || has.some(isMore)) throw new Refused("overbroad_token");
  }
  // 7. Whether it was used before nobody here can tell.
  if (claims.get("single_use")) throw new Refused("subject_token_invalid");
  const plain = JSON.parse(decode64(token.split(".")[1]).toString());
  const caller = {
    subject: claims.get("sub"), subjectId: pair, client: claims.get("client_id"), actors, task: claims.get("task") ?? null,
    details: plain.authorization_details ?? [], scopes, route: route.get("route"), claims: plain,
  };
  return [call, caller];
}

/** Refuses what is not allowed, and tells the application who asks: `req.narrows`. */
export function narrows() {
  const keys = new Keys();
  return (req, res, next) => {
    delete req.narrows;
    check(req, res, keys).then(([call, caller]) => {
      req.narrows = caller;
      const body = req.narrowsBody ?? NOTHING;
      if (body.length > 0) {
        req.body = call.isForm ? parseForm(body.toString()) : JSON.parse(body.toString());
        req._body = true;
      }
      next();
    }).catch((error) => (error instanceof Refused ? refuse(req, res, error) : next(error)));
  };
}

function refuse(req, res, { reason, parameters }) {
  const [status, error, description] = rule("refusals").get(reason);
  const titles = { 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 413: "Payload Too Large",
    429: "Too Many Requests", 503: "Service Unavailable" };
  const problem = { type: "about:blank", title: titles[status], status, detail: description, reason,
    help: "the token says what it allows: narrows inspect" };
  const headers = { "Content-Type": "application/problem+json", "Cache-Control": "no-store" };
  if (status === 401 || (status === 403 && error)) {
    const words = error ? [`error="${error}"`, `error_description="${description}"`] : [];
    headers["WWW-Authenticate"] = `Bearer ${[...words, ...parameters].join(", ")}`.trim();
  }
  if (status === 429 || status === 503) headers["Retry-After"] = "1";
  if (!req.complete) headers.Connection = "close"; // what is still to come of it is nobody's
  res.writeHead(status, headers).end(JSON.stringify(problem));
}
