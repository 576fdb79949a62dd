//go:build !linux

package listener

import "net"

// limitUnsent does nothing: this system has no such bound, or another name for it.
func limitUnsent(net.Conn) {}
