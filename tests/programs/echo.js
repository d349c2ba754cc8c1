// SPDX-License-Identifier: GPL-2.0
//
// node echo.js serve PORT: answers each request with its own body.
// node echo.js call PORT: sends and checks small and large bodies, then streams.
'use strict';
const crypto = require('crypto');
const http = require('http');
const net = require('net');
const { pipeline, Readable } = require('stream');

const [mode, port] = [process.argv[2], Number(process.argv[3])];
const agent = new http.Agent({ keepAlive: true, maxSockets: 4 });

function serve() {
	const server = http.createServer((request, response) => {
		response.setHeader('X-Path', request.url);
		pipeline(request, response, () => {});
	});
	server.keepAliveTimeout = 60000;
	server.listen(port, '127.0.0.1');
	net.createServer({ allowHalfOpen: true }, (socket) => pipeline(socket, socket, () => {}))
		.listen(port + 1, '127.0.0.1');
}

// A body in pieces of odd sizes; its hash is in `sent` once it has ended.
function body(size) {
	const sent = crypto.createHash('sha256');
	const stream = Readable.from((function* () {
		for (let left = size; left > 0;) {
			const piece = crypto.randomBytes(Math.min(left, 1 + crypto.randomInt(100000)));
			left -= piece.length;
			sent.update(piece);
			yield piece;
		}
	})());
	return { sent, stream };
}

function assertSame(what, sent, got, size, bytes) {
	if (bytes !== size || sent.digest('hex') !== got.digest('hex'))
		throw new Error(`${what}: have ${bytes} bytes, want ${size} or their content differs`);
}

function post(path, size) {
	return new Promise((resolve, reject) => {
		const { sent, stream } = body(size);
		const request = http.request({ agent, port, host: '127.0.0.1', path, method: 'POST' }, (response) => {
			const got = crypto.createHash('sha256');
			let bytes = 0;
			response.on('data', (data) => {
				bytes += data.length;
				got.update(data);
			});
			response.on('error', reject);
			response.on('end', () => {
				assertSame(path, sent, got, size, bytes);
				if (response.headers['x-path'] !== path)
					throw new Error(`${path}: the answer is for ${response.headers['x-path']}`);
				resolve();
			});
		});
		pipeline(stream, request, (error) => error && reject(error));
	});
}

function echo(size) {
	return new Promise((resolve, reject) => {
		const { sent, stream } = body(size);
		const socket = net.connect({ port: port + 1, host: '127.0.0.1', allowHalfOpen: true });
		const got = crypto.createHash('sha256');
		let bytes = 0;
		socket.on('data', (data) => {
			bytes += data.length;
			got.update(data);
		});
		socket.on('error', reject);
		socket.on('end', () => {
			assertSame('stream', sent, got, size, bytes);
			resolve();
		});
		pipeline(stream, socket, (error) => error && reject(error));
	});
}

async function call() {
	const small = Array.from({ length: 1000 }, (_, i) => post(`/small/${i}`, i));
	await Promise.all(small);
	for (const size of [65536, 65537, 1000000, 30000000])
		await post(`/large/${size}`, size);
	await Promise.all([1000, 100000, 10000000, 10000001].map(echo));
	agent.destroy();
	console.log('all came back');
}

if (mode === 'serve')
	serve();
else
	call();
