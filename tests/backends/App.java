import com.sun.net.httpserver.HttpServer;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.Executors;

/** A backend with the JDK alone: it says who asks, and what it was sent. */
public final class App {
    public static void main(String[] arguments) throws Exception {
        HttpServer server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 64);
        server.setExecutor(Executors.newFixedThreadPool(4));
        server.createContext("/", exchange -> {
            NarrowsFilter.Caller caller = NarrowsFilter.caller(exchange);
            String said = caller == null ? "" : "\"subject\":\"" + caller.subject() + "\",\"route\":\"" + caller.route() + "\",";
            int length = exchange.getRequestBody().readAllBytes().length;
            byte[] body = ("{" + said + "\"length\":" + length + "}").getBytes(StandardCharsets.UTF_8);
            boolean isHead = exchange.getRequestMethod().equals("HEAD");
            exchange.sendResponseHeaders(200, isHead ? -1 : body.length);
            if (!isHead) exchange.getResponseBody().write(body);
            exchange.close();
        }).getFilters().add(0, new NarrowsFilter());
        server.start();
        System.out.println(server.getAddress().getPort());
    }
}
