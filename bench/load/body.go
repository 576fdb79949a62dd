package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"perigee/internal/testorigin"
)

// pieceBytes is how much a client reads at once.
const pieceBytes = 64 << 10

// body tells what the bytes of a body must be.
type body interface {
	size() int64
	// equal tells whether p is what stands at off.
	equal(p []byte, off int64) bool
}

// seeded is a body of the origin, made anew wherever it is looked at.
type seeded struct {
	seed    uint64
	n       int64
	scratch []byte // at least as long as any p
}

func (s *seeded) size() int64 { return s.n }

func (s *seeded) equal(p []byte, off int64) bool {
	want := s.scratch[:len(p)]
	testorigin.Fill(want, s.seed, off)
	return bytes.Equal(p, want)
}

// held is a body in memory, for many clients to compare with.
type held []byte

func (h held) size() int64 { return int64(len(h)) }

func (h held) equal(p []byte, off int64) bool {
	return off+int64(len(p)) <= int64(len(h)) && bytes.Equal(p, h[off:off+int64(len(p))])
}

// visit is one request and what a client does with the response.
type visit struct {
	client *http.Client
	url    string
	want   body
	buf    []byte
	leave  int64        // leave after so many bytes; 0 = stay to the end
	first  func()       // called when the first byte of the body has come; nil = nobody asks
	head   func(string) // called with X-Cache; nil likewise
}

// get makes the visit and returns how many bytes came. The error says what differs.
func (v *visit) get(ctx context.Context) (int64, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, v.url, nil)
	if err != nil {
		return 0, err
	}
	resp, err := v.client.Do(r)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("%s: status %d", v.url, resp.StatusCode)
	}
	if v.head != nil {
		v.head(resp.Header.Get("X-Cache"))
	}
	n, err := v.read(resp.Body)
	if err != nil {
		return n, fmt.Errorf("%s: %w", v.url, err)
	}
	return n, nil
}

func (v *visit) read(from io.Reader) (n int64, err error) {
	for {
		got, err := from.Read(v.buf)
		if got > 0 {
			if n == 0 && v.first != nil {
				v.first()
			}
			if n+int64(got) > v.want.size() || !v.want.equal(v.buf[:got], n) {
				return n, fmt.Errorf("the %d bytes at %d are not those of the origin", got, n)
			}
			n += int64(got)
		}
		switch {
		case err == io.EOF && n == v.want.size():
			return n, nil
		case err == io.EOF:
			return n, fmt.Errorf("%d bytes came, not %d", n, v.want.size())
		case err != nil:
			return n, fmt.Errorf("after %d bytes: %w", n, err)
		case v.leave > 0 && n >= v.leave:
			return n, nil
		}
	}
}

// clientFrom makes a client that comes from 127.0.0.host, with connections of its
// own that it uses again.
func clientFrom(host byte) *http.Client {
	d := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, host)}, Timeout: 20 * time.Second}
	return &http.Client{Transport: &http.Transport{
		DialContext: d.DialContext, DisableCompression: true, MaxIdleConnsPerHost: 1 << 10, WriteBufferSize: 1 << 10,
	}}
}
