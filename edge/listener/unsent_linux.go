package listener

import (
	"net"

	"golang.org/x/sys/unix"
)

// maxUnsent is how much the kernel may hold of a connection before it is sent. By
// default it takes megabytes from whoever writes fast to a client that reads slowly:
// a thousand of those fill the memory that TCP has on the machine, and then
// everybody's connections stall.
const maxUnsent = 128 << 10

// limitUnsent bounds what the kernel holds of nc. Where it cannot, nothing is lost
// but that bound.
func limitUnsent(nc net.Conn) {
	tcp, ok := nc.(*net.TCPConn)
	if !ok {
		return
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, maxUnsent)
	})
}
