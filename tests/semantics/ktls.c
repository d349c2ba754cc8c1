// SPDX-License-Identifier: GPL-2.0
/* Cases: kTLS, which leaves the bypass.  They want the kernel's module tls. */
#include "semantics.h"
#include <linux/tls.h>
#include <netinet/tcp.h>

#ifndef SOL_TLS
#define SOL_TLS 282
#endif

static void start_tls(int fd)
{
	struct tls12_crypto_info_aes_gcm_128 key = {
		.info = {.version = TLS_1_2_VERSION, .cipher_type = TLS_CIPHER_AES_GCM_128}};

	if (setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", 3))
		skip("the kernel has no TLS");
	if (setsockopt(fd, SOL_TLS, TLS_TX, &key, sizeof(key)) ||
	    setsockopt(fd, SOL_TLS, TLS_RX, &key, sizeof(key)))
		fail("the key");
}

/* Both ends take it up after a handshake in clear text, as a library does. */
static void tls(int family)
{
	struct conn c = dial_family(family);

	exchange(c);
	start_tls(c.client);
	start_tls(c.server);
	for (int i = 0; i < 3; i++)
		exchange(c);
	hang_up(c);
}

CASE(ktls, bypass, "kTLS at both ends, after small talk")
{
	tls(AF_INET);
}

CASE(ktls_v6, bypass, "the same over IPv6")
{
	tls(AF_INET6);
}
