// Origin is the scripted origin of the tests as a process of its own, so that what
// it does is not measured with what asks it. See internal/testorigin for the paths
// that it answers.
package main

import (
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"

	"perigee/internal/testorigin"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "loopback `address`")
	flag.Parse()
	if err := serve(*listen); err != nil {
		fmt.Fprintln(os.Stderr, "origin:", err)
		os.Exit(1)
	}
}

func serve(address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	stop := testorigin.New().Serve(l)
	defer stop()
	fmt.Println("http://" + l.Addr().String())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	<-signals
	return nil
}
