// SPDX-License-Identifier: GPL-2.0

// A proxy as Go programs have it: io.Copy between two connections uses splice(2), and since
// Go 1.24 a listener speaks Multipath TCP.
//
//	go-proxy LISTEN-ADDRESS BACKEND-ADDRESS
package main

import (
	"io"
	"log"
	"net"
	"os"
)

func pump(to, from *net.TCPConn) {
	io.Copy(to, from)
	to.CloseWrite()
}

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

func main() {
	front := must(net.Listen("tcp", os.Args[1]))
	for {
		client := must(front.Accept()).(*net.TCPConn)
		server := must(net.Dial("tcp", os.Args[2])).(*net.TCPConn)
		go pump(client, server)
		go pump(server, client)
	}
}
