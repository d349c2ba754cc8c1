// SPDX-License-Identifier: GPL-2.0
//
// java Echo.java serve PORT: answers each request with its own body.
// java Echo.java call PORT: sends small and large bodies, and checks what comes back.

import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executors;

public class Echo {
	public static void main(String[] args) throws Exception {
		int port = Integer.parseInt(args[1]);
		if (args[0].equals("serve"))
			serve(port);
		else
			call(port);
	}

	static void serve(int port) throws Exception {
		HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", port), 0);
		server.setExecutor(Executors.newFixedThreadPool(4));
		server.createContext("/", exchange -> {
			// The client does not read before it has sent all.
			byte[] body = exchange.getRequestBody().readAllBytes();
			// Chunked, in several writes.
			exchange.sendResponseHeaders(200, 0);
			try (var out = exchange.getResponseBody()) {
				for (int from = 0; from < body.length; from += 30000)
					out.write(body, from, Math.min(30000, body.length - from));
			}
		});
		server.start();
	}

	static CompletableFuture<Void> post(HttpClient client, int port, int size) {
		byte[] body = new byte[size];
		new Random(size).nextBytes(body);
		HttpRequest request = HttpRequest.newBuilder(URI.create("http://127.0.0.1:" + port + "/" + size))
			.timeout(Duration.ofSeconds(30))
			.POST(HttpRequest.BodyPublishers.ofByteArray(body)).build();
		return client.sendAsync(request, HttpResponse.BodyHandlers.ofByteArray()).thenAccept(response -> {
			if (response.statusCode() != 200 || !Arrays.equals(response.body(), body))
				throw new IllegalStateException(size + " bytes: have " + response.body().length);
		});
	}

	static void call(int port) throws Exception {
		HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
		for (int size = 0; size < 500; size++)
			post(client, port, size).get();
		List<CompletableFuture<Void>> several = new ArrayList<>();
		for (int i = 0; i < 8; i++)
			several.add(post(client, port, 10000 + i));
		for (var one : several)
			one.get();
		for (int size : new int[] { 65536, 65537, 1000000, 20000000 })
			post(client, port, size).get();
		System.out.println("all came back");
		System.exit(0);
	}
}
