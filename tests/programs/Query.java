// SPDX-License-Identifier: GPL-2.0
//
// java -cp postgresql.jar Query.java PORT QUERIES: a prepared one of PostgreSQL by JDBC, which blocks,
// as often again before, while Java compiles.  Prints queries/s, and in us the median and p99.

import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.util.Arrays;

public class Query {
	public static void main(String[] args) throws Exception {
		String url = "jdbc:postgresql://127.0.0.1:" + args[0] + "/postgres?user=postgres&sslmode=disable";
		int queries = Integer.parseInt(args[1]);
		try (Connection connection = DriverManager.getConnection(url);
				PreparedStatement query = connection.prepareStatement(
					"SELECT abalance FROM pgbench_accounts WHERE aid = ?")) {
			run(query, queries);
			long begin = System.nanoTime();
			long[] took = run(query, queries);
			double seconds = (System.nanoTime() - begin) / 1e9;
			Arrays.sort(took);
			System.out.printf("%.1f,%.2f,%.2f%n", queries / seconds, took[queries / 2] / 1e3,
				took[queries * 99 / 100] / 1e3);
		}
	}

	static long[] run(PreparedStatement query, int queries) throws Exception {
		long[] took = new long[queries];
		for (int i = 0; i < queries; i++) {
			long begin = System.nanoTime();
			query.setInt(1, i * 7919 % 100000 + 1);
			try (ResultSet result = query.executeQuery()) {
				if (!result.next() || result.getInt(1) != 0)
					throw new Exception("not what pgbench has stored");
			}
			took[i] = System.nanoTime() - begin;
		}
		return took;
	}
}
