package edge

import (
	"crypto/rand"
	"net/http"

	"perigee/cachestore"
	"perigee/httpcache"
)

// answerRanges sends several ranges of a stored body as one message (RFC 9110
// §14.6).
func (x *exchange) answerRanges(o *cachestore.Object, re reply, ranges []httpcache.ByteRange, size int64) {
	stored := o.Stored()
	kind := stored.Header().Get(httpcache.ContentTypeField)
	parts := httpcache.NewMultipart(rand.Text(), kind, ranges, size)
	x.head(stored.Header(), re)
	h := x.w.Header()
	httpcache.DropContentDigest(h)
	h["Accept-Ranges"] = acceptBytes
	h[httpcache.ContentTypeField] = []string{parts.ContentType()}
	h[httpcache.ContentLengthField] = x.value(valueLength, itoa(parts.Length()))
	readers, err := openAll(o, ranges)
	defer func() {
		for _, each := range readers {
			each.Close()
		}
	}()
	if err != nil {
		x.refetchGone()
		return
	}
	x.weigh()
	x.record.Tier = tierOf(o)
	x.writeHead(http.StatusPartialContent)
	for i, each := range readers {
		p := part{status: http.StatusPartialContent, off: ranges[i].First, n: ranges[i].Length()}
		if x.sendPart(o, parts.Head(i), each, p); x.record.Aborted {
			return
		}
		each.Close()
	}
	if err := x.send(parts.Tail()); err != nil {
		x.cut(err)
	}
}

// openAll opens every range before the first byte goes out: the bytes of one may
// leave the store while another is sent.
func openAll(o *cachestore.Object, ranges []httpcache.ByteRange) ([]*cachestore.Reader, error) {
	readers := make([]*cachestore.Reader, 0, len(ranges))
	for _, each := range ranges {
		reader, err := o.Open(each.First, each.Length())
		if err != nil {
			return readers, err
		}
		readers = append(readers, reader)
	}
	return readers, nil
}

// sendPart sends one range, or cuts the response.
func (x *exchange) sendPart(o *cachestore.Object, head []byte, reader *cachestore.Reader, p part) {
	if err := x.send(head); err != nil {
		x.cut(err)
		return
	}
	if err := x.copyFrom(reader); err != nil {
		x.bodyEnded(o, reader, p, err)
	}
}
