/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Constants of the kernel's UAPI that several files need.  They are macros there, which vmlinux.h
 * does not have.
 */
#ifndef UAPI_H
#define UAPI_H

#define AF_INET	    2
#define AF_INET6    10
#define IPPROTO_TCP 6
#define SOL_SOCKET  1

#endif /* UAPI_H */
