import type { Rows } from "../row.ts";

/** Sockets. */
export const NETWORK = {
  socket: "domain:enum(af) type:socktype protocol:protocol = fd",
  socketpair: "domain:enum(af) type:socktype protocol:protocol sv:>fd*2",
  connect: "sockfd:fd addr:<sockaddr(addrlen) addrlen:int",
  bind: "sockfd:fd addr:<sockaddr(addrlen) addrlen:int",
  listen: "sockfd:fd backlog:int",
  accept: "sockfd:fd addr:>sockaddr(addrlen) addrlen:<>socklen = fd",
  accept4: "sockfd:fd addr:>sockaddr(addrlen) addrlen:<>socklen flags:flags(sock_type) = fd",
  getsockname: "sockfd:fd addr:>sockaddr(addrlen) addrlen:<>socklen",
  getpeername: "sockfd:fd addr:>sockaddr(addrlen) addrlen:<>socklen",
  sendto: "sockfd:fd buf:<bytes(len) len:ulong flags:flags(msg) dest_addr:<sockaddr(addrlen) addrlen:int",
  recvfrom: "sockfd:fd buf:>bytes len:ulong flags:flags(msg) src_addr:>sockaddr(addrlen) addrlen:<>socklen",
  sendmsg: "sockfd:fd msg:<msghdr flags:flags(msg)",
  recvmsg: "sockfd:fd msg:>msghdr flags:flags(msg)",
  sendmmsg: "sockfd:fd msgvec:pointer vlen:uint flags:flags(msg)",
  recvmmsg: "sockfd:fd msgvec:pointer vlen:uint flags:flags(msg) timeout:<timespec",
  shutdown: "sockfd:fd how:enum(shutdown)",
  setsockopt: "sockfd:fd level:enum(sol) optname:sockopt(level) optval:<optval(optlen) optlen:int",
  getsockopt: "sockfd:fd level:enum(sol) optname:sockopt(level) optval:>optval(optlen) optlen:<>socklen",
} satisfies Rows;
