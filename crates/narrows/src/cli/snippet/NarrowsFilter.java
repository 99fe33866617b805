// Service `<<service>>`, checked by its own backend: a filter for com.sun.net.httpserver, with nothing but the JDK (17 or newer).
// Printed by `narrows snippet java > NarrowsFilter.java`; print it again when services, routes, detail types or audiences change.
//
//     server.createContext("/", handler).getFilters().add(0, new NarrowsFilter());   // in every context, before other filters
//     NarrowsFilter.caller(exchange)                   // who asks and what for; null on a public route
//
// Give the server an executor of many threads: without one a single body that is slow to come holds everybody up. And start it with
// -Dsun.net.httpserver.maxReqTime=20 -Dsun.net.httpserver.drainAmount=0, so that it too waits no longer for a body than that.
//
// In another server call `check` with what that shows of a request, and let on what does not throw.
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
// - A response goes on when its token ends meanwhile.
// - It looks into no body that the route does not read, but forms (`application/x-www-form-urlencoded`): in JSON that goes by, or in
//   `multipart/form-data`, a token or a `_method` goes on. Forms on public routes may have 64 KiB, and are read when the handler does.
// - What a proxy says of addresses and certificates, in `X-Forwarded-For`, `Client-Cert` and the like, stays, whoever sent it: believe
//   it only if that proxy alone reaches this program. What says who asks (`Remote-User`, `X-Forwarded-User`) is refused.
// - `mode = "observe"` means nothing here: everything is enforced, from the first request on.

import com.sun.net.httpserver.Filter;
import com.sun.net.httpserver.HttpExchange;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.math.BigInteger;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.ByteBuffer;
import java.nio.channels.ClosedByInterruptException;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.security.AlgorithmParameters;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.PublicKey;
import java.security.Signature;
import java.security.interfaces.ECPublicKey;
import java.security.spec.ECFieldFp;
import java.security.spec.ECGenParameterSpec;
import java.security.spec.ECParameterSpec;
import java.security.spec.ECPoint;
import java.security.spec.ECPublicKeySpec;
import java.security.spec.EdECPoint;
import java.security.spec.EdECPublicKeySpec;
import java.security.spec.MGF1ParameterSpec;
import java.security.spec.NamedParameterSpec;
import java.security.spec.PSSParameterSpec;
import java.security.spec.RSAPublicKeySpec;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.Collection;
import java.util.Collections;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.TreeSet;
import java.util.WeakHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.Consumer;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Refuses what is not allowed, and tells the handler who asks. */
public final class NarrowsFilter extends Filter {

    /** A request that does not go on, by its reason. */
    @SuppressWarnings("serial")
    public static final class Refused extends RuntimeException {
        public final String reason;
        final List<String> parameters;

        Refused(String reason, String... parameters) {
            super(reason, null, false, false);
            this.reason = reason;
            this.parameters = List.of(parameters);
        }

        public int status() {
            return ((Long) words().get(0)).intValue();
        }

        /** The value of `WWW-Authenticate`; null where another token would mend nothing. */
        public String challenge() {
            Object error = words().get(1);
            if (status() != 401 && (status() != 403 || error == NULL)) return null;
            List<String> all = new ArrayList<>();
            if (error != NULL) all.add("error=\"" + error + "\", error_description=\"" + words().get(2) + "\"");
            all.addAll(parameters);
            return ("Bearer " + String.join(", ", all)).strip();
        }

        /** Problem details (RFC 9457); nothing of the request is in them. */
        public String problem() {
            Map<Integer, String> titles = Map.of(400, "Bad Request", 401, "Unauthorized", 403, "Forbidden", 413, "Payload Too Large",
                429, "Too Many Requests", 503, "Service Unavailable");
            return "{\"type\":\"about:blank\",\"title\":\"" + titles.get(status()) + "\",\"status\":" + status() + ",\"detail\":\""
                + words().get(2) + "\",\"reason\":\"" + reason + "\",\"help\":\"the token says what it allows: narrows inspect\"}";
        }

        private List<Object> words() {
            return list(map(RULES.get("refusals")).get(reason));
        }
    }

    /** Who acts, or for whom: an issuer, and a subject there. */
    public record Party(String iss, String sub) {}

    /** Who asks, as the token says it, and what for. `actors` begins with who acts now; `task` may be null. */
    public record Caller(String subject, Party subjectId, String client, List<Party> actors, String task, Object details, Set<String> scopes,
                         String route, Map<String, Object> claims) {}

    /** A body, read when it is needed and no longer than said. */
    public interface BodyReader {
        byte[] read(long most) throws IOException;

        /** Has it looked at before anybody else reads it; who cannot put that off reads it now. */
        default void later(long most, Consumer<byte[]> look) throws IOException {
            look.accept(read(most));
        }
    }

    // --- JSON: no member twice, no deeper than said. A number that is no integer which every reader reads alike is INEXACT.

    private static final Object NULL = new Object();
    private static final Object INEXACT = new Object();
    private static final long LARGEST = (1L << 53) - 1;

    /** Text that is no JSON, or no detail: whoever reads it says what that means. */
    @SuppressWarnings("serial")
    private static final class Unfit extends RuntimeException {
        Unfit() {
            super(null, null, false, false);
        }
    }

    private static void must(boolean holds) {
        if (!holds) throw new Unfit();
    }

    private static final class Json {
        private static final Pattern NUMBER = Pattern.compile("-?(?:0|[1-9][0-9]*+)(?:\\.[0-9]++)?(?:[eE][+-]?[0-9]++)?");
        private final String text;
        private int at = 0;

        private Json(String text) {
            this.text = text;
        }

        static Object read(byte[] data, int depth) {
            Json json = new Json(utf8(data));
            Object value = json.value(depth);
            json.blanks();
            must(json.at == json.text.length());
            return value;
        }

        private char peek() {
            return at < text.length() ? text.charAt(at) : '\0';
        }

        private void blanks() {
            while (at < text.length() && " \t\n\r".indexOf(text.charAt(at)) >= 0) at++;
        }

        private String take(Pattern pattern) {
            Matcher matcher = pattern.matcher(text).region(at, text.length());
            must(matcher.lookingAt());
            at = matcher.end();
            return matcher.group(matcher.groupCount());
        }

        private Object value(int left) {
            blanks();
            char first = peek();
            if (first == '{' || first == '[') {
                must(left > 0);
                return first == '{' ? members(left - 1) : items(left - 1);
            }
            if (first == '"') return string();
            for (Map.Entry<String, Object> word : Map.of("true", true, "false", false, "null", NULL).entrySet()) {
                if (text.startsWith(word.getKey(), at)) {
                    at += word.getKey().length();
                    return word.getValue();
                }
            }
            String number = take(NUMBER);
            must(!Double.isInfinite(Double.parseDouble(number)));
            boolean whole = number.length() <= 17 && !number.equals("-0") && number.matches("-?[0-9]+");
            return whole && Math.abs(Long.parseLong(number)) <= LARGEST ? (Object) Long.parseLong(number) : INEXACT;
        }

        /** Whether another item follows; what stands between two is read. */
        private boolean another(char close, boolean first) {
            blanks();
            if (peek() == close) {
                at++;
                return false;
            }
            if (!first) {
                must(peek() == ',');
                at++;
                blanks();
            }
            return true;
        }

        private Map<String, Object> members(int left) {
            Map<String, Object> found = new LinkedHashMap<>();
            at++;
            while (another('}', found.isEmpty())) {
                String name = string();
                blanks();
                must(peek() == ':');
                at++;
                must(found.put(name, value(left)) == null);
            }
            return found;
        }

        private List<Object> items(int left) {
            List<Object> found = new ArrayList<>();
            at++;
            while (another(']', found.isEmpty())) found.add(value(left));
            return found;
        }

        private String string() {
            must(peek() == '"');
            StringBuilder found = new StringBuilder();
            for (at++; peek() != '"'; at++) {
                must(at < text.length() && peek() >= ' ');
                if (peek() != '\\') {
                    found.append(peek());
                    continue;
                }
                at++;
                int simple = "\"\\/bfnrt".indexOf(peek());
                if (simple >= 0 && at < text.length()) {
                    found.append("\"\\/\b\f\n\r\t".charAt(simple));
                } else {
                    must(peek() == 'u' && at + 4 < text.length() && text.substring(at + 1, at + 5).matches("[0-9A-Fa-f]{4}"));
                    found.append((char) Integer.parseInt(text.substring(at + 1, at + 5), 16));
                    at += 4;
                }
            }
            at++;
            // Half a character of UTF-16 is none.
            must(StandardCharsets.UTF_8.newEncoder().canEncode(found));
            return found.toString();
        }
    }

    private static String utf8(byte[] data) {
        try {
            return StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(data)).toString();
        } catch (CharacterCodingException malformed) {
            throw new Unfit();
        }
    }

    private static boolean isWithin(Object value, int depth) {
        Collection<?> inner = value instanceof Map<?, ?> members ? members.values() : value instanceof List<?> items ? items : null;
        return inner == null || (depth > 0 && inner.stream().allMatch(each -> isWithin(each, depth - 1)));
    }

    @SuppressWarnings("unchecked")
    private static Map<String, Object> map(Object value) {
        must(value instanceof Map);
        return (Map<String, Object>) value;
    }

    @SuppressWarnings("unchecked")
    private static List<Object> list(Object value) {
        must(value instanceof List);
        return (List<Object>) value;
    }

    private static boolean isText(Object value) {
        return value instanceof String text && !text.isEmpty();
    }

    private static final Map<String, Object> RULES = map(Json.read("""
<<rules>>
""".strip().getBytes(StandardCharsets.UTF_8), 32));
    private static final int MAX_CHAIN = ((Long) RULES.get("max_chain")).intValue();
    private static final Pattern CONTROL = Pattern.compile("[\\x00-\\x1f\\x7f-\\x9f]");
    private static final String BLANK = "[\\t-\\r \\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000\\ufeff]";
    private static final String TRIMMED = "[\\x00-\\x1f\\x7f-\\x9f" + BLANK + "]";
    private static final Pattern BLANK_AT_AN_END = Pattern.compile("^" + TRIMMED + "|" + TRIMMED + "\\z");
    private static final Pattern BLANKS_AROUND = Pattern.compile("^" + BLANK + "+|" + BLANK + "+\\z");
    private static final Pattern HOST = Pattern.compile("([a-z0-9_-]+(?:\\.[a-z0-9_-]+)*|\\[[0-9a-f:.]+\\])(?::([0-9]{1,5}))?");
    private static final Pattern JSON_TYPE =
        Pattern.compile("[ \\t]*application/json[ \\t]*(;[ \\t]*(charset=utf-8|charset=\"utf-8\")?[ \\t]*)?");

    // --- The request: one path, one host, one credential, to every reader.

    /** What is looked at of a request; header names in lower case. */
    private static final class Call {
        final String method;
        final String target;
        final String query;
        final String host;
        final List<String> segments;
        final Map<String, List<String>> headers;
        final boolean isForm;
        final boolean isCoded;
        final boolean isHidden; // a form that nobody can look into
        final boolean isJson;

        Call(String method, String target, Map<String, List<String>> headers) {
            this.method = method;
            this.target = target;
            this.headers = headers;
            malformed(method.length() <= 32 && target.length() <= 16384 && target.matches("[!-~]*") && !target.contains("#"));
            malformed(all("host").size() == 1);
            Matcher named = HOST.matcher(lower(all("host").get(0)));
            malformed(named.matches() && named.group(1).length() <= 255);
            malformed(named.group(2) == null || Integer.parseInt(named.group(2)) <= 65535);
            host = named.group(1);
            malformed(headers.keySet().stream().noneMatch(NarrowsFilter::isForged));
            for (String line : all("connection")) {
                for (String name : line.split(",")) malformed(!isKept(lower(name.strip())));
            }
            int mark = target.indexOf('?');
            query = mark < 0 ? "" : target.substring(mark + 1);
            segments = segments(mark < 0 ? target : target.substring(0, mark));
            List<String> types = all("content-type");
            isForm = says("x-www-form-urlencoded");
            isCoded = !all("content-encoding").isEmpty();
            boolean otherLetters = says("charset") && !says("utf-8", "us-ascii", "iso-8859-1", "windows-1252");
            isHidden = isForm && (isCoded || says("multipart/") || otherLetters);
            isJson = types.size() == 1 && JSON_TYPE.matcher(lower(types.get(0))).matches();
        }

        List<String> all(String name) {
            return headers.getOrDefault(name, List.of());
        }

        private boolean says(String... words) {
            return all("content-type").stream().anyMatch(type -> Arrays.stream(words).anyMatch(lower(type)::contains));
        }
    }

    private static String spelt(String name) {
        return name.replaceAll("[^a-z0-9]", "-").replaceAll("^-+|-+$", "");
    }

    /** Whether a header, in any spelling, says who asks, as a guard alone may, or another method or path. */
    private static boolean isForged(String name) {
        boolean isTwin = List.of("authorization", "dpop").contains(spelt(name)) && !spelt(name).equals(name);
        return isTwin || spelt(name).matches((String) RULES.get("forged"));
    }

    /** Whether `Connection` may not name a header, since it is decided on, or a proxy's. */
    private static boolean isKept(String name) {
        boolean isDecidedOn = name.matches((String) RULES.get("decided_on"));
        return isForged(name) || isDecidedOn || spelt(name).matches((String) RULES.get("of_proxies"));
    }

    private static String lower(String text) {
        return text.toLowerCase(Locale.ROOT);
    }

    private static void malformed(boolean holds) {
        if (!holds) throw new Refused("malformed_request");
    }

    /** The bytes of a text whose escapes stand for bytes, decoded once. */
    private static byte[] unquoted(String text) {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        for (int at = 0; at < text.length(); at++) {
            boolean escape = text.charAt(at) == '%' && at + 2 < text.length() && hex(text.charAt(at + 1)) >= 0 && hex(text.charAt(at + 2)) >= 0;
            bytes.write(escape ? hex(text.charAt(at + 1)) << 4 | hex(text.charAt(at + 2)) : text.charAt(at));
            if (escape) at += 2;
        }
        return bytes.toByteArray();
    }

    private static int hex(char digit) {
        return digit < 128 ? Character.digit(digit, 16) : -1;
    }

    private static String decode(String text) {
        malformed(!Pattern.compile("%(?![0-9A-Fa-f]{2})").matcher(text).find());
        try {
            String decoded = utf8(unquoted(text));
            malformed(!CONTROL.matcher(decoded).find());
            return decoded;
        } catch (Unfit notUtf8) {
            throw new Refused("malformed_request");
        }
    }

    /** Whether a text, or any in a value of JSON, begins or ends with what some reader drops. */
    private static boolean hasBlankEnd(Object value) {
        if (value instanceof Map<?, ?> members) return hasBlankEnd(List.copyOf(members.keySet())) || hasBlankEnd(new ArrayList<>(members.values()));
        if (value instanceof List<?> items) return items.stream().anyMatch(NarrowsFilter::hasBlankEnd);
        return value instanceof String text && BLANK_AT_AN_END.matcher(text).find();
    }

    /** The segments of a path that no other reader would take for another one. */
    private static List<String> segments(String path) {
        malformed(path.startsWith("/"));
        String[] raw = path.substring(1).split("/", -1);
        List<String> found = new ArrayList<>();
        for (int at = 0; at < raw.length; at++) {
            String each = decode(raw[at]);
            malformed(!raw[at].isEmpty() || at + 1 == raw.length);
            malformed(!each.equals(".") && !each.equals("..") && !hasBlankEnd(each));
            malformed(!Pattern.compile("[/\\\\;?#]|%[0-9A-Fa-f]{2}").matcher(each).find());
            malformed(each.chars().filter(c -> c == '.').count() == raw[at].chars().filter(c -> c == '.').count());
            found.add(each);
        }
        return found;
    }

    /** The values that the path of a request names, if the route is for it; null if not. */
    private static Map<String, String> captured(Map<String, Object> route, Call call) {
        if (!route.get("method").equals(call.method)) return null;
        Map<String, String> values = new HashMap<>();
        List<Object> pieces = list(route.get("path"));
        for (int at = 0; at < pieces.size(); at++) {
            if (at >= call.segments.size()) return null;
            String found = call.segments.get(at);
            if (pieces.get(at) instanceof String literal) {
                if (!literal.equals(found)) return null;
                continue;
            }
            if (found.isEmpty()) return null;
            Map<String, Object> piece = map(pieces.get(at));
            if (piece.containsKey("rest")) {
                values.put((String) piece.get("rest"), String.join("/", call.segments.subList(at, call.segments.size())));
                return values;
            }
            values.put((String) piece.get("one"), found);
        }
        return pieces.size() == call.segments.size() ? values : null;
    }

    /** Whether a less strict reader takes a path for a route's: one to whom case, a slash at the end and an extension are of no account. */
    private static boolean resembles(List<Object> pieces, List<String> found) {
        List<?> wanted = bare(pieces);
        List<?> seen = bare(found);
        for (int at = 0; at < wanted.size(); at++) {
            if (at == seen.size()) return false;
            if (wanted.get(at) instanceof Map<?, ?> piece && piece.containsKey("rest")) return true;
            if (!(wanted.get(at) instanceof String literal)) continue;
            String whole = oneCase((String) seen.get(at));
            boolean isLast = at + 1 == seen.size() && whole.contains(".");
            List<String> stems = isLast ? List.of(whole.substring(0, whole.indexOf('.')), whole.substring(0, whole.lastIndexOf('.'))) : List.of();
            if (!oneCase(literal).equals(whole) && !stems.contains(oneCase(literal))) return false;
        }
        return wanted.size() == seen.size();
    }

    private static List<?> bare(List<?> segments) {
        boolean isSlash = !segments.isEmpty() && segments.get(segments.size() - 1).equals("");
        return isSlash ? segments.subList(0, segments.size() - 1) : segments;
    }

    private static String oneCase(String text) {
        return lower(text.replaceAll("[\u0130\u0131]", "i").replace('\u017f', 's').replace('\u212a', 'k'));
    }

    private record Shown(String token, boolean isDpop) {}

    /** The token, and how it is shown; null where nothing is shown. */
    private static Shown credential(Call call) {
        malformed(names(call.query).stream().noneMatch(NarrowsFilter::isToken));
        List<String> lines = call.all("authorization");
        if (lines.isEmpty()) return null;
        Matcher parts = Pattern.compile("(?i:(bearer|dpop)) ([A-Za-z0-9._~+/-]+=*)").matcher(lines.get(0));
        malformed(lines.size() == 1 && parts.matches() && parts.group(2).length() <= 16384);
        List<String> texts = new ArrayList<>(List.of(call.target));
        call.headers.forEach((name, values) -> {
            if (!name.equals("authorization")) texts.addAll(values);
        });
        refuseRepeated(parts.group(2), texts);
        return new Shown(parts.group(2), parts.group(1).equalsIgnoreCase("dpop"));
    }

    /**
     * What is signed stands nowhere else, since one signature may have two spellings, nor does the signature, by which the token may be
     * known: neither as they are nor decoded once.
     */
    private static void refuseRepeated(String token, List<String> texts) {
        int end = token.lastIndexOf('.');
        String signed = token.substring(0, Math.max(end, 0));
        List<String> words = new ArrayList<>(List.of(signed.contains(".") ? signed : "", token.substring(end + 1)));
        words.removeIf(word -> word.length() < 20);
        for (String text : texts) {
            malformed(words.stream().noneMatch(word -> text.contains(word) || latin1(unquoted(text)).contains(word)));
        }
    }

    /** A body that was read holds no token, and no other method where it is a form; one in a coding could hold anything. */
    private static void lookInto(Call call, byte[] body, Shown shown) {
        String text = latin1(body);
        boolean isForm = call.isForm && body.length > 0;
        malformed(!isForm || (!call.isHidden && names(text).stream().noneMatch(name -> isToken(name) || isMethod(name))));
        if (shown != null) refuseRepeated(shown.token, List.of(text));
    }

    private static String latin1(byte[] bytes) {
        return new String(bytes, StandardCharsets.ISO_8859_1);
    }

    /** The names in a query or form, as the most lenient reader finds them. */
    private static List<String> names(String pairs) {
        return Arrays.stream(pairs.split("[&;]")).map(pair -> pair.split("=", 2)[0].replace('+', ' '))
            .map(name -> BLANKS_AROUND.matcher(new String(unquoted(name), StandardCharsets.UTF_8)).replaceAll("")).toList();
    }

    private static String stem(String name) {
        return name.replaceAll("^\\[+", "").split("[\\[\\]\\x00]", 2)[0];
    }

    private static boolean isToken(String name) {
        String written = lower(name).replaceAll("[ .]", "_");
        return List.of(stem(written), written.replace('[', '_')).contains("access_token");
    }

    private static final Pattern METHOD_NAME =
        Pattern.compile("=method|x=http=method=override".replace("=", "[^\\p{IsAlphabetic}\\p{N}]"), Pattern.CASE_INSENSITIVE | Pattern.DOTALL);

    /** Whether somebody may take this for `_method` or `X-HTTP-Method-Override`, and so for the method of the request. */
    private static boolean isMethod(String name) {
        return List.of(name, stem(name)).stream().anyMatch(each -> METHOD_NAME.matcher(each).matches());
    }

    // --- The token: who signed it, and what it says.

    private record Key(String kid, String algorithm, PublicKey key) {}

    /**
     * The broker's keys, fetched when they are needed: again after five minutes, and for a key that is not known, at most twice a minute.
     * Without the broker they serve for an hour. No redirect is followed and no proxy is asked.
     */
    private static final class Keys {
        private final HttpClient client = HttpClient.newBuilder().followRedirects(HttpClient.Redirect.NEVER)
            .proxy(HttpClient.Builder.NO_PROXY).connectTimeout(Duration.ofSeconds(5)).build();
        private final ReentrantLock fetching = new ReentrantLock();
        private volatile List<Key> keys = List.of();
        private volatile long fetched = 0;
        private volatile long tried = 0;

        private boolean isOlder(long since, int seconds) {
            return since == 0 || System.nanoTime() - since > seconds * 1_000_000_000L;
        }

        private void refresh(int againAfter) {
            // Nobody waits for a fetch who can do without.
            if (!keys.isEmpty() && fetching.isLocked()) return;
            fetching.lock();
            try {
                if (!isOlder(tried, againAfter)) return;
                tried = System.nanoTime();
                HttpRequest request = HttpRequest.newBuilder(URI.create((String) RULES.get("jwks_uri"))).timeout(Duration.ofSeconds(5)).build();
                ByteArrayOutputStream data = new ByteArrayOutputStream();
                Future<HttpResponse<Void>> reply = client.sendAsync(request, head ->
                    HttpResponse.BodySubscribers.ofByteArrayConsumer(part -> part.ifPresent(bytes -> {
                        must(data.size() + bytes.length <= 262144);
                        data.writeBytes(bytes);
                    })));
                try {
                    must(reply.get(5, TimeUnit.SECONDS).statusCode() == 200);
                } finally {
                    reply.cancel(true);
                }
                keys = keySet(Json.read(data.toByteArray(), 16));
                fetched = System.nanoTime();
            } catch (ExecutionException | TimeoutException | Unfit keepWhatWasGood) {
                return;
            } catch (InterruptedException interrupted) {
                Thread.currentThread().interrupt();
            } finally {
                fetching.unlock();
            }
        }

        PublicKey find(String kid, String algorithm) {
            if (keys.isEmpty() || isOlder(fetched, 300)) refresh(keys.isEmpty() ? 2 : 30);
            if (kid != null && keys.stream().noneMatch(key -> kid.equals(key.kid()))) refresh(30);
            if (keys.isEmpty() || isOlder(fetched, 3600)) throw new Refused("issuer_unavailable");
            List<Key> fitting =
                keys.stream().filter(key -> key.algorithm().equals(algorithm) && (kid == null || kid.equals(key.kid()))).toList();
            if (fitting.size() != 1) throw new Refused("subject_token_invalid");
            return fitting.get(0).key();
        }
    }

    /** The keys of a set that are good for signatures, each for one algorithm. */
    private static List<Key> keySet(Object set) {
        List<Object> listed = list(map(set).get("keys"));
        must(listed.stream().noneMatch(key -> key instanceof Map<?, ?> jwk && "oct".equals(jwk.get("kty"))));
        List<Key> usable = listed.stream().limit(100).map(NarrowsFilter::usableKey).filter(Objects::nonNull).toList();
        List<String> names = usable.stream().map(Key::kid).filter(Objects::nonNull).toList();
        must(!usable.isEmpty() && new HashSet<>(names).size() == names.size());
        return usable;
    }

    private static Key usableKey(Object value) {
        if (!(value instanceof Map)) return null;
        Map<String, Object> jwk = map(value);
        Object kid = jwk.get("kid");
        Map<String, List<String>> byType = Map.of("EC P-256", List.of("ES256"), "OKP Ed25519", List.of("EdDSA"), "RSA ", List.of("RS256", "PS256"));
        List<String> natural = byType.getOrDefault(jwk.get("kty") + " " + jwk.getOrDefault("crv", ""), List.of());
        Object alg = jwk.getOrDefault("alg", natural.size() == 1 ? natural.get(0) : NULL);
        Object algorithm = "Ed25519".equals(alg) ? "EdDSA" : alg;
        boolean signs = jwk.getOrDefault("use", "sig").equals("sig") && !jwk.containsKey("d") && (kid == null || kid instanceof String);
        boolean verifies = jwk.getOrDefault("key_ops", List.of("verify")) instanceof List<?> operations && operations.contains("verify");
        if (!signs || !verifies || !natural.contains(algorithm) || !list(RULES.get("algorithms")).contains(algorithm)) return null;
        try {
            PublicKey key = switch ((String) jwk.get("kty")) {
                case "EC" -> elliptic(bytes(jwk, "x"), bytes(jwk, "y"));
                case "OKP" -> edwards(bytes(jwk, "x"));
                default -> rsa(bytes(jwk, "n"), bytes(jwk, "e"));
            };
            return new Key((String) kid, (String) algorithm, key);
        } catch (GeneralSecurityException | Unfit unfit) {
            return null;
        }
    }

    private static byte[] bytes(Map<String, Object> jwk, String name) {
        must(jwk.get(name) instanceof String);
        return decode64((String) jwk.get(name));
    }

    private static PublicKey elliptic(byte[] x, byte[] y) throws GeneralSecurityException {
        must(x.length == 32 && y.length == 32);
        AlgorithmParameters parameters = AlgorithmParameters.getInstance("EC");
        parameters.init(new ECGenParameterSpec("secp256r1"));
        ECParameterSpec curve = parameters.getParameterSpec(ECParameterSpec.class);
        ECPoint point = new ECPoint(new BigInteger(1, x), new BigInteger(1, y));
        BigInteger p = ((ECFieldFp) curve.getCurve().getField()).getP();
        BigInteger right = point.getAffineX().pow(3).add(curve.getCurve().getA().multiply(point.getAffineX())).add(curve.getCurve().getB());
        must(point.getAffineX().compareTo(p) < 0 && point.getAffineY().compareTo(p) < 0);
        must(point.getAffineY().pow(2).subtract(right).mod(p).signum() == 0);
        return KeyFactory.getInstance("EC").generatePublic(new ECPublicKeySpec(point, curve));
    }

    private static PublicKey edwards(byte[] x) throws GeneralSecurityException {
        must(x.length == 32);
        byte[] y = new byte[32];
        for (int at = 0; at < 32; at++) y[at] = x[31 - at];
        boolean isOdd = (y[0] & 0x80) != 0;
        y[0] &= 0x7f;
        EdECPoint point = new EdECPoint(isOdd, new BigInteger(1, y));
        return KeyFactory.getInstance("Ed25519").generatePublic(new EdECPublicKeySpec(NamedParameterSpec.ED25519, point));
    }

    private static PublicKey rsa(byte[] n, byte[] e) throws GeneralSecurityException {
        BigInteger exponent = new BigInteger(1, e);
        must(n.length >= 256 && n.length <= 1024 && n[0] != 0 && e.length <= 8 && exponent.compareTo(BigInteger.valueOf(65537)) >= 0);
        return KeyFactory.getInstance("RSA").generatePublic(new RSAPublicKeySpec(new BigInteger(1, n), exponent));
    }

    private static boolean verifies(PublicKey key, String algorithm, byte[] message, byte[] signature) {
        try {
            Signature verifier = Signature.getInstance(switch (algorithm) {
                case "ES256" -> "SHA256withECDSAinP1363Format";
                case "EdDSA" -> "Ed25519";
                case "RS256" -> "SHA256withRSA";
                default -> "RSASSA-PSS";
            });
            if (algorithm.equals("PS256")) {
                verifier.setParameter(new PSSParameterSpec("SHA-256", "MGF1", MGF1ParameterSpec.SHA256, 32, 1));
            }
            if (key instanceof ECPublicKey) {
                // Two numbers, neither of them zero, whatever this JDK thinks of that.
                must(signature.length == 64 && new BigInteger(1, Arrays.copyOf(signature, 32)).signum() != 0);
                must(new BigInteger(1, Arrays.copyOfRange(signature, 32, 64)).signum() != 0);
            }
            verifier.initVerify(key);
            verifier.update(message);
            return verifier.verify(signature);
        } catch (GeneralSecurityException | Unfit bad) {
            return false;
        }
    }

    /** base64url as it is written by everybody: no padding, unused bits zero. */
    private static byte[] decode64(String text) {
        try {
            byte[] data = Base64.getUrlDecoder().decode(text);
            must(Base64.getUrlEncoder().withoutPadding().encodeToString(data).equals(text));
            return data;
        } catch (IllegalArgumentException notBase64) {
            throw new Unfit();
        }
    }

    private static void invalid(boolean holds) {
        if (!holds) throw new Refused("subject_token_invalid");
    }

    /** The claims of an access token that the broker signed. */
    private static Map<String, Object> authentic(String token, Keys keys) {
        String[] parts = token.split("\\.", -1);
        invalid(parts.length == 3);
        Map<String, Object> header;
        Map<String, Object> claims;
        byte[] signature;
        try {
            header = map(Json.read(decode64(parts[0]), 64));
            claims = map(Json.read(decode64(parts[1]), 64));
            signature = decode64(parts[2]);
        } catch (Unfit malformed) {
            throw new Refused("subject_token_invalid");
        }
        Object algorithm = header.get("alg");
        Object kid = header.get("kid");
        invalid(Collections.disjoint(header.keySet(), Set.of("crit", "jku", "x5u", "jwk", "zip", "b64")));
        invalid(algorithm instanceof String && list(RULES.get("algorithms")).contains(algorithm));
        invalid(kid == null || (kid instanceof String name && name.getBytes(StandardCharsets.UTF_8).length <= 512));
        invalid(header.get("typ") instanceof String typ && lower(typ).replaceFirst("^application/", "").equals("at+jwt"));
        invalid(RULES.get("issuer").equals(claims.get("iss")) && signature.length > 0);
        byte[] message = (parts[0] + "." + parts[1]).getBytes(StandardCharsets.US_ASCII);
        invalid(verifies(keys.find((String) kid, (String) algorithm), (String) algorithm, message, signature));
        return claims;
    }

    private record Said(List<Detail> details, Set<String> scopes, List<Object> audiences, Party pair, List<Party> actors) {}

    private static boolean isDate(Object value) {
        return value instanceof Long number && number >= 0;
    }

    /** What the token says, every claim of its own type: a malformed one is never an absent one. */
    private static Said says(Map<String, Object> claims) {
        invalid(isWithin(claims, MAX_CHAIN + 8));
        for (String name : List.of("sub", "jti", "client_id", "txn")) invalid(isText(claims.get(name)));
        for (String name : List.of("task", "approval", "acr", "scope")) invalid(!claims.containsKey(name) || claims.get(name) instanceof String);
        for (String name : List.of("iat", "exp")) invalid(isDate(claims.get(name)));
        for (String name : List.of("nbf", "auth_time")) invalid(!claims.containsKey(name) || isDate(claims.get(name)));
        invalid(claims.getOrDefault("chain", List.of()) instanceof List<?> chain && chain.stream().allMatch(each -> each instanceof String));
        invalid(claims.getOrDefault("onward", List.of()) instanceof List);
        invalid(claims.getOrDefault("single_use", false) instanceof Boolean);
        Set<String> scopes = new TreeSet<>();
        if (claims.containsKey("scope")) scopes.addAll(List.of(((String) claims.get("scope")).split(" ", -1)));
        invalid(scopes.stream().allMatch(scope -> scope.matches("[!#-\\[\\]-~]{1,255}")));
        invalid(((String) claims.get("client_id")).matches("[!-~]{1,255}"));
        Object aud = claims.get("aud");
        List<Object> audiences = aud instanceof List ? list(aud) : List.of(aud == null ? NULL : aud);
        invalid(!audiences.isEmpty() && audiences.stream().allMatch(NarrowsFilter::isText));
        invalid(claims.get("sub_id") instanceof Map);
        Map<String, Object> pair = map(claims.get("sub_id"));
        invalid(isText(pair.get("iss")) && isText(pair.get("sub")));
        String sub = (String) pair.get("sub");
        invalid(sub.codePointCount(0, sub.length()) <= 255 && !Pattern.compile("[\\x00-\\x1f\\x7f]").matcher(sub).find());
        List<Party> actors = new ArrayList<>();
        for (Object level = claims.get("act"); level != null; level = map(level).get("act")) {
            invalid(level instanceof Map && actors.size() < MAX_CHAIN);
            Map<String, Object> actor = map(level);
            invalid(isText(actor.get("iss")) && isText(actor.get("sub")) && Set.of("iss", "sub", "act").containsAll(actor.keySet()));
            actors.add(new Party((String) actor.get("iss"), (String) actor.get("sub")));
        }
        try {
            List<Detail> details = details(claims.getOrDefault("authorization_details", List.of()), false);
            if (claims.containsKey("exception")) mustBeException(map(claims.get("exception")));
            return new Said(details, scopes, audiences, new Party((String) pair.get("iss"), sub), actors);
        } catch (Unfit undeclared) {
            throw new Refused("subject_token_invalid");
        }
    }

    /** An exception lifts nothing here, and is still what it ought to be. */
    private static void mustBeException(Map<String, Object> claim) {
        must(isText(claim.get("id")) && Set.of("id", "authorization_details", "max_lifetime").containsAll(claim.keySet()));
        must(claim.getOrDefault("max_lifetime", 1L) instanceof Long life && life > 0);
        details(claim.getOrDefault("authorization_details", List.of()), true);
    }

    /** That it is for this service, now, and for whoever bears it; `now` in milliseconds. */
    private static void holds(Map<String, Object> claims, List<Object> audiences, boolean isDpop, long now) {
        if (!audiences.equals(List.of(RULES.get("audience")))) throw new Refused("subject_token_not_for_client");
        long exp = (Long) claims.get("exp");
        long iat = (Long) claims.get("iat");
        long nbf = (Long) claims.getOrDefault("nbf", 0L);
        invalid(exp > iat && (nbf < exp || !claims.containsKey("nbf")) && iat * 1000 <= now && nbf * 1000 <= now);
        if (exp * 1000 - now < 1000) throw new Refused("subject_token_expired");
        invalid(exp - iat <= (Long) RULES.get("max_lifetime"));
        if (claims.containsKey("cnf")) {
            boolean isKey = claims.get("cnf") instanceof Map<?, ?> bound && bound.get("jkt") instanceof String;
            throw new Refused(isKey ? "invalid_dpop_proof" : "subject_token_invalid");
        }
        if (isDpop) throw new Refused("invalid_dpop_proof");
    }

    // --- Details, and their order. What does not fit throws Unfit.

    /** One detail of a declared type; `identifier` and `locations` may be null. */
    private record Detail(String type, List<Object> actions, String identifier, List<Object> locations, Map<String, Object> constraints) {
        Map<String, Object> declared() {
            return map(map(RULES.get("types")).get(type));
        }

        /** The constraints that an action of this type declares. */
        List<Object> declaredBy(Object action) {
            return list(map(map(declared().get("actions")).get(action)).get("constraints"));
        }

        Object order(Object name) {
            return map(declared().get("constraints")).get(name);
        }
    }

    private record Atom(Detail detail, Object action) {}

    private static boolean isDistinct(Object value) {
        return value instanceof List<?> items && !items.isEmpty() && items.stream().allMatch(NarrowsFilter::isText)
            && new HashSet<>(items).size() == items.size();
    }

    private static boolean isPath(String text) {
        return !Pattern.compile("[%\\\\\\x00-\\x1f\\x7f-\\x9f]").matcher(text).find()
            && Arrays.stream(text.replaceFirst("^/", "").split("/", -1)).noneMatch(Set.of("", ".", "..")::contains);
    }

    /** A value of a constraint as it is compared. */
    private static Object constraint(Object order, Object value) {
        must(switch ((String) order) {
            case "equal" -> value instanceof Boolean || value instanceof Long || isText(value);
            case "at_most" -> value instanceof Long limit && limit >= 0;
            case "prefix" -> value instanceof String text && isPath(text);
            case "subset" -> isDistinct(value);
            default -> isText(value) || isDistinct(value);
        });
        return order.equals("one_of") && value instanceof String ? List.of(value) : value;
    }

    private static Detail detail(Object value, boolean isCeiling) {
        Map<String, Object> members = map(value);
        must(isText(members.get("type")) && map(RULES.get("types")).containsKey(members.get("type")) && isDistinct(members.get("actions")));
        boolean named = members.containsKey("identifier");
        List<Object> locations = members.containsKey("locations") ? list(members.get("locations")) : null;
        must((!named || members.get("identifier") instanceof String) && (locations == null || isDistinct(locations)));
        Map<String, Object> constraints = new HashMap<>();
        Detail found = new Detail((String) members.get("type"), list(members.get("actions")), (String) members.get("identifier"), locations, constraints);
        must(found.actions.size() <= 32);
        Set<Object> bounded = new HashSet<>();
        String unfit = named ? "none" : isCeiling ? "" : "required";
        for (Object action : found.actions) {
            Object rule = map(found.declared().get("actions")).get(action);
            must(rule != null && !map(rule).get("identifier").equals(unfit));
            bounded.addAll(found.declaredBy(action));
        }
        List<Object> texts = new ArrayList<>(locations == null ? List.of() : locations);
        if (named) texts.add(found.identifier);
        must(texts.stream().allMatch(text -> isText(text) && ((String) text).getBytes(StandardCharsets.UTF_8).length <= 1024
            && !CONTROL.matcher((String) text).find()));
        members.forEach((name, each) -> {
            if (Set.of("type", "actions", "identifier", "locations").contains(name)) return;
            must(found.order(name) != null && bounded.contains(name));
            constraints.put(name, constraint(found.order(name), each));
        });
        return found;
    }

    private static List<Detail> details(Object value, boolean isCeiling) {
        must(list(value).size() <= 32);
        return list(value).stream().map(each -> detail(each, isCeiling)).toList();
    }

    private static List<Atom> atoms(List<Detail> details) {
        return details.stream().flatMap(each -> each.actions().stream().map(action -> new Atom(each, action))).toList();
    }

    private static boolean isNarrower(Object order, Object inner, Object outer) {
        return switch ((String) order) {
            case "equal" -> inner.equals(outer);
            case "at_most" -> (Long) inner <= (Long) outer;
            case "prefix" -> inner.equals(outer) || ((String) inner).startsWith(outer + "/");
            default -> list(outer).containsAll(list(inner));
        };
    }

    /** Whether one action of a token's detail allows one action of a needed one. */
    private static boolean covers(Atom held, Atom needed) {
        boolean same = held.detail.type.equals(needed.detail.type) && held.action.equals(needed.action);
        boolean resource = held.detail.identifier == null || held.detail.identifier.equals(needed.detail.identifier);
        return same && resource && exceeded(needed.detail, held.detail, held.action, true).isEmpty();
    }

    /** The constraints in which `inner` is wider than `outer`: absent is unbounded. Those with one value are looked at `withEqual`. */
    private static List<Object> exceeded(Detail inner, Detail outer, Object action, boolean withEqual) {
        List<Object> found = new ArrayList<>();
        for (Object name : inner.declaredBy(action)) {
            Object bound = outer.constraints.get(name);
            Object value = inner.constraints.get(name);
            if (bound == null || (inner.order(name).equals("equal") && !withEqual)) continue;
            if (value == null || !isNarrower(inner.order(name), value, bound)) found.add(name);
        }
        boolean here = outer.locations == null || (inner.locations != null && outer.locations.containsAll(inner.locations));
        if (!here) found.add("locations");
        return found;
    }

    /** Whether an action of a token's detail is more than the mode lets it be beside one detail that is needed. */
    private static boolean isSurplus(Atom atom, Detail needed, List<Object> wider) {
        Detail held = atom.detail;
        boolean isExact = RULES.get("excess").equals("none");
        if (!held.type.equals(needed.type) || !Objects.equals(held.identifier, needed.identifier)) return true;
        for (Object name : held.declaredBy(atom.action)) {
            Object wanted = needed.constraints.containsKey(name) ? needed.constraints.get(name) : map(RULES.get("fixed")).get(name);
            if ("equal".equals(held.order(name)) && !Objects.equals(held.constraints.get(name), wanted)) return true;
        }
        if (exceeded(held, needed, atom.action, false).stream().anyMatch(name -> isExact || !wider.contains(name))) return true;
        return isExact && (!needed.actions.contains(atom.action) || !exceeded(needed, held, atom.action, false).isEmpty());
    }

    // --- What the request needs.

    private static String folded(String name) {
        return lower(name.toUpperCase(Locale.ROOT));
    }

    private static String foldedName(String name) {
        return folded(name.split("\\[", 2)[0].strip()).replaceAll("[. ]", "_");
    }

    private static void refuseAnotherMethod(Call call, List<Object> read) {
        malformed(names(call.query).stream().noneMatch(name -> isMethod(name) && !read.contains(name)));
    }

    /** What the route reads of the query; nothing may come along that another reader takes for it. */
    private static Map<String, Object> readQuery(Call call, Map<String, Object> reads) {
        List<Object> wanted = list(reads.get("query"));
        Map<String, Object> found = new HashMap<>();
        if (wanted.isEmpty() || call.query.isEmpty()) return found;
        for (String pair : call.query.split("&", -1)) {
            int mark = pair.indexOf('=');
            String raw = mark < 0 ? pair : pair.substring(0, mark);
            String value = mark < 0 ? "" : pair.substring(mark + 1);
            malformed(!pair.contains(";") && !raw.contains("+"));
            String name = decode(raw);
            String decoded = decode(value);
            if (!wanted.contains(name)) {
                boolean listed = reads.get("query_pass").equals(true) || list(reads.get("query_only")).contains(name);
                boolean alike = wanted.stream().anyMatch(each -> foldedName((String) each).equals(foldedName(name)));
                if (!listed || alike) throw new Refused("unread_input");
                continue;
            }
            malformed(!value.contains("+") && found.put(name, decoded) == null);
        }
        return found;
    }

    /** The members of the body, where the route reads it and there is one; null otherwise. */
    private static Map<String, Object> readBody(Call call, byte[] body, Map<String, Object> reads) {
        if (reads.get("body") == NULL || body.length == 0) return null;
        malformed(call.isJson && !call.isCoded);
        Map<String, Object> members;
        try {
            members = map(Json.read(body, 8));
        } catch (Unfit noObject) {
            throw new Refused("malformed_request");
        }
        refuseUnread(map(reads.get("body")), members, reads.get("body_pass").equals(true));
        return members;
    }

    private static void refuseUnread(Map<String, Object> shape, Map<String, Object> members, boolean mayPass) {
        Map<String, Object> known = map(shape.get("members"));
        members.forEach((name, value) -> {
            if (!known.containsKey(name)) {
                boolean listed = shape.get("whole").equals(true) || shape.get("names").equals(true) || mayPass;
                boolean alike = known.keySet().stream().anyMatch(each -> folded(each).equals(folded(name)));
                if (!listed || alike) throw new Refused("unread_input");
                return;
            }
            Map<String, Object> inner = map(known.get(name));
            if (inner.get("whole").equals(true)) return;
            if (value instanceof Map) {
                refuseUnread(inner, map(value), mayPass);
            } else if (!inner.get("names").equals(true)) {
                throw new Refused("unread_input");
            }
        });
    }

    /** The values of one request, by where a template says that they stand. What is not there is Unfit. */
    private record Values(String host, Map<String, String> path, Map<String, Object> query, Map<String, Object> body) {
        Object json(Object written) {
            Object value = asSaid(written);
            malformed(!hasBlankEnd(value));
            return value;
        }

        Object asSaid(Object written) {
            Map.Entry<String, Object> source = map(written).entrySet().iterator().next();
            if (source.getKey().equals("host")) return host.split("\\.", 2)[0];
            if (source.getKey().equals("path") || source.getKey().equals("query")) {
                Object found = source.getKey().equals("path") ? path.get(source.getValue()) : query.get(source.getValue());
                must(found != null);
                return found;
            }
            Object value = body == null ? NULL : body;
            for (Object name : list(source.getValue())) {
                must(map(value).containsKey(name));
                value = map(value).get(name);
            }
            if (source.getKey().equals("body")) return value;
            must(!map(value).isEmpty());
            return new ArrayList<Object>(map(value).keySet());
        }

        String text(Object written) {
            List<Object> pieces = list(written);
            StringBuilder filled = new StringBuilder();
            for (int at = 0; at < pieces.size(); at++) {
                Object value = pieces.get(at) instanceof String literal ? literal : json(pieces.get(at));
                must(isText(value));
                // Of two values, the first ends where the text between them begins, and nowhere before.
                if (!(pieces.get(at) instanceof String) && at + 2 < pieces.size()) {
                    String between = (String) pieces.get(at + 1);
                    must((value + between).indexOf(between) == ((String) value).length());
                }
                filled.append(value);
            }
            return filled.toString();
        }

        Object integer(Object source) {
            Object value = json(source);
            if (value instanceof Long) return value;
            must(value instanceof String text && !map(source).containsKey("body") && text.matches("0|-?[1-9][0-9]{0,15}"));
            must(Math.abs(Long.parseLong((String) value)) <= LARGEST);
            return Long.parseLong((String) value);
        }

        List<Object> several(Object items) {
            Set<Object> found = new LinkedHashSet<>();
            for (Object item : list(items)) {
                boolean isText = map(item).containsKey("text");
                Object value = isText ? text(map(item).get("text")) : json(map(item).get("several"));
                if (value instanceof List<?> names) found.addAll(names);
                else found.add(value);
            }
            return new ArrayList<>(found);
        }

        Detail detail(Object written) {
            Map<String, Object> template = map(written);
            Map<String, Object> value = new LinkedHashMap<>(map(template.get("fixed")));
            if (template.containsKey("identifier")) value.put("identifier", text(template.get("identifier")));
            map(template.get("members")).forEach((name, member) -> {
                Map.Entry<String, Object> way = map(member).entrySet().iterator().next();
                value.put(name, switch (way.getKey()) {
                    case "json" -> json(way.getValue());
                    case "integer" -> integer(way.getValue());
                    case "text" -> text(way.getValue());
                    default -> several(way.getValue());
                });
            });
            return NarrowsFilter.detail(value, false);
        }
    }

    /** The details that the request needs, to the byte, with what is fixed. */
    private static List<Detail> needed(Call call, Map<String, Object> route, Map<String, String> path, byte[] body) {
        Map<String, Object> reads = map(route.get("reads"));
        refuseAnotherMethod(call, list(reads.get("query")));
        Map<String, Object> query = readQuery(call, reads);
        Values values = new Values(call.host, path, query, readBody(call, body, reads));
        List<Detail> found;
        try {
            found = route.get("detail") == NULL ? List.of() : List.of(values.detail(route.get("detail")));
            list(route.get("onward")).forEach(values::detail);
        } catch (Unfit unfit) {
            throw new Refused("malformed_details");
        }
        for (Detail each : found) {
            map(RULES.get("fixed")).forEach((name, value) -> {
                if (each.actions.stream().noneMatch(action -> each.declaredBy(action).contains(name))) return;
                // A request for another value is for somebody else's resource.
                Object own = each.constraints.putIfAbsent(name, value);
                if (own != null && !own.equals(value)) throw new Refused("wider_than_subject");
            });
        }
        return found;
    }

    // --- The filter.

    private static final Map<HttpExchange, Caller> CALLERS = Collections.synchronizedMap(new WeakHashMap<>());
    private final Keys keys = new Keys();

    /** Who asks; null on a public route. An attribute of the exchange would be every exchange's of its context. */
    public static Caller caller(HttpExchange exchange) {
        return CALLERS.get(exchange);
    }

    @Override
    public String description() {
        return "narrows";
    }

    @Override
    public void doFilter(HttpExchange exchange, Chain chain) throws IOException {
        Map<String, List<String>> headers = new HashMap<>();
        exchange.getRequestHeaders().forEach((name, values) -> headers.computeIfAbsent(lower(name), each -> new ArrayList<>()).addAll(values));
        Sent body = new Sent(exchange);
        try {
            Caller caller = check(exchange.getRequestMethod(), exchange.getRequestURI().toString(), headers, body);
            if (caller != null) CALLERS.put(exchange, caller);
            chain.doFilter(exchange);
        } catch (Refused refused) {
            refuse(exchange, refused);
        } finally {
            HELD.addAndGet(-body.size);
        }
    }

    /** How many bytes are held of all bodies. */
    private static final AtomicLong HELD = new AtomicLong();
    private static final ScheduledExecutorService CLOCK = Executors.newSingleThreadScheduledExecutor(work -> {
        Thread thread = new Thread(work, "narrows");
        thread.setDaemon(true);
        return thread;
    });

    /** The body of an exchange, which is there again for the handler when it was read here. */
    private static final class Sent implements BodyReader {
        private final HttpExchange exchange;
        private long size = 0;

        Sent(HttpExchange exchange) {
            this.exchange = exchange;
        }

        @Override
        public byte[] read(long most) throws IOException {
            byte[] data = collect(exchange.getRequestBody(), most, 1 << 26);
            exchange.setStreams(new ByteArrayInputStream(data), null);
            return data;
        }

        /** A handler that does not read it, waits for none of it. */
        @Override
        public void later(long most, Consumer<byte[]> look) {
            InputStream unread = exchange.getRequestBody();
            exchange.setStreams(new InputStream() {
                private InputStream seen = null;

                private InputStream seen() throws IOException {
                    if (seen != null) return seen;
                    byte[] data = collect(unread, most, 1 << 24);
                    look.accept(data);
                    seen = new ByteArrayInputStream(data);
                    return seen;
                }

                @Override
                public int read() throws IOException {
                    return seen().read();
                }

                @Override
                public int read(byte[] into, int at, int length) throws IOException {
                    return seen().read(into, at, length);
                }
            }, null);
        }

        /** No more than `most` bytes, and `ofAll` with those of others. After ten seconds the connection is closed. */
        private byte[] collect(InputStream body, long most, long ofAll) throws IOException {
            Future<?> late = CLOCK.schedule(Thread.currentThread()::interrupt, 10, TimeUnit.SECONDS);
            ByteArrayOutputStream data = new ByteArrayOutputStream();
            byte[] part = new byte[8192];
            try {
                for (int length; (length = body.read(part)) >= 0; ) {
                    size += length;
                    long held = HELD.addAndGet(length);
                    data.write(part, 0, length);
                    if (data.size() > most) throw new Refused("too_large");
                    if (held > ofAll) throw new Refused("rate_limited");
                }
                return data.toByteArray();
            } catch (ClosedByInterruptException tooLate) {
                throw new Refused("malformed_request");
            } finally {
                if (!late.cancel(false)) Thread.interrupted();
            }
        }
    }

    /** Who asks with a request to `target`, path and query as they came; null on a public route. Names of headers are in lower case. */
    public Caller check(String method, String target, Map<String, List<String>> headers, BodyReader body) throws IOException {
        // 1. One credential, in the one place for it, and a route to every reader; the routes stand in the order in which they are tried.
        //    Nobody's body is waited for who shows no token, but a small form on a public route, which may hold one.
        Call call = new Call(method, target, headers);
        Shown shown = credential(call);
        int dot = call.host.indexOf('.');
        List<Object> hosts = list(RULES.get("hosts"));
        boolean isServed = hosts.contains(call.host) || (dot >= 0 && hosts.contains("*" + call.host.substring(dot)));
        Map<String, Object> route = null;
        Map<String, String> path = null;
        for (Object each : isServed ? list(RULES.get("routes")) : List.of()) {
            route = map(each);
            path = captured(route, call);
            if (path != null) break;
        }
        if (path == null) throw new Refused("no_route");
        for (Object at : list(route.get("unlike"))) {
            Map<String, Object> other = map(list(RULES.get("routes")).get(((Long) at).intValue()));
            malformed(!resembles(list(other.get("path")), call.segments));
        }
        if (route.get("public").equals(true)) {
            refuseAnotherMethod(call, List.of());
            if (call.isForm) body.later(65536, data -> lookInto(call, data, shown));
            return null;
        }
        if (shown == null) throw new Refused("no_token");
        // 2. Signed by the broker, as an access token; and what it says holds here and now.
        Map<String, Object> claims = authentic(shown.token, keys);
        Said said = says(claims);
        long now = System.currentTimeMillis();
        holds(claims, said.audiences, shown.isDpop, now);
        // 3. What the request needs, to the byte. A stranger is not told what that would be.
        boolean reads = call.isForm || map(route.get("reads")).get("body") != NULL;
        byte[] sent = reads ? body.read((Long) route.get("body_max")) : new byte[0];
        lookInto(call, sent, shown);
        List<Detail> required = needed(call, route, path, sent);
        // 4. The token allows that.
        List<Atom> held = atoms(said.details);
        boolean allowed = atoms(required).stream().allMatch(wanted -> held.stream().anyMatch(atom -> covers(atom, wanted)));
        if (!allowed || !said.scopes.containsAll(list(route.get("scopes")))) throw new Refused("wider_than_subject");
        // 5. The person signed in as the route asks (RFC 9470).
        Object age = route.get("max_auth_age");
        Object acr = route.get("acr");
        long since = claims.containsKey("auth_time") ? now - (Long) claims.get("auth_time") * 1000 : -1;
        boolean isRecent = age == NULL || (since >= 0 && since <= (Long) age * 1000);
        if (!isRecent || (acr != NULL && !acr.equals(claims.get("acr")))) {
            List<String> asked = new ArrayList<>();
            if (acr != NULL) asked.add("acr_values=\"" + acr + "\"");
            if (age != NULL) asked.add("max_age=" + age);
            throw new Refused("insufficient_user_authentication", asked.toArray(String[]::new));
        }
        // 6. It allows no more than the mode lets it.
        if (!RULES.get("excess").equals("any")) {
            List<Object> wider = list(route.get("wider"));
            boolean surplus = held.stream().anyMatch(atom -> required.stream().allMatch(each -> isSurplus(atom, each, wider)));
            if (surplus || !list(route.get("scopes")).containsAll(said.scopes)) throw new Refused("overbroad_token");
        }
        // 7. Whether it was used before nobody here can tell.
        invalid(!claims.getOrDefault("single_use", false).equals(true));
        return new Caller((String) claims.get("sub"), said.pair, (String) claims.get("client_id"), said.actors, (String) claims.get("task"),
            claims.getOrDefault("authorization_details", List.of()), said.scopes, (String) route.get("route"), claims);
    }

    private static void refuse(HttpExchange exchange, Refused refused) throws IOException {
        if (exchange.getResponseCode() != -1) {
            exchange.close(); // the handler had begun to answer
            return;
        }
        byte[] problem = refused.problem().getBytes(StandardCharsets.UTF_8);
        exchange.getResponseHeaders().set("Content-Type", "application/problem+json");
        exchange.getResponseHeaders().set("Cache-Control", "no-store");
        if (refused.challenge() != null) exchange.getResponseHeaders().set("WWW-Authenticate", refused.challenge());
        if (refused.status() == 429 || refused.status() == 503) exchange.getResponseHeaders().set("Retry-After", "1");
        exchange.sendResponseHeaders(refused.status(), exchange.getRequestMethod().equals("HEAD") ? -1 : problem.length);
        if (!exchange.getRequestMethod().equals("HEAD")) exchange.getResponseBody().write(problem);
        exchange.close();
    }
}
