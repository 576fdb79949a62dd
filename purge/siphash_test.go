package purge

import "testing"

// sipVectors are the first outputs of the reference implementation of SipHash-2-4 for
// the key 00 01 … 0f and the messages "", 00, 00 01, 00 01 02 and so on.
var sipVectors = []uint64{
	0x726fdb47dd0e0e31, 0x74f839c593dc67fd, 0x0d6c8009d9a94f5a, 0x85676696d7fb7e2d,
	0xcf2794e0277187b7, 0x18765564cd99a68d, 0xcbc9466e58fee3ce, 0xab0200f58b01d137,
	0x93f5f5799a932462, 0x9e0082df0ba9e4b0, 0x7a5dbbc594ddb9f3, 0xf4b32f46226bada7,
	0x751e8fbc860ee5fb, 0x14ea5627c0843d90, 0xf723ca908e7af2ee, 0xa129ca6149be45e5,
}

func TestSipHash(t *testing.T) {
	t.Parallel()
	var key [16]byte
	var message []byte
	for i := range key {
		key[i] = byte(i)
	}
	for i, want := range sipVectors {
		whole := newSip(key)
		whole.text(string(message))
		if got := whole.sum(); got != want {
			t.Errorf("%d bytes: %#x, want %#x", i, got, want)
		}
		for cut := range message {
			h := newSip(key)
			h.text(string(message[:cut]))
			_ = h.sum() // changes nothing
			h.text(string(message[cut:]))
			if got := h.sum(); got != want {
				t.Errorf("%d bytes cut at %d: %#x, want %#x", i, cut, got, want)
			}
		}
		message = append(message, byte(i))
	}
}
