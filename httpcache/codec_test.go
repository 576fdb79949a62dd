package httpcache

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// asNew returns s as it comes back from its binary form, and fails where that is not
// equal in every field.
func asNew(t testing.TB, s *Stored) *Stored {
	t.Helper()
	form := AppendStored(nil, s)
	got, err := DecodeStored(form)
	if err != nil {
		t.Fatalf("DecodeStored(%q): %v", form, err)
	}
	if diff := cmp.Diff(s, got, cmp.AllowUnexported(Stored{})); diff != "" {
		t.Fatalf("decoded from %q (-want +got):\n%s", form, diff)
	}
	return got
}

func TestStoredFormOfTypical(t *testing.T) {
	t.Parallel()
	asNew(t, mustStore(t, &Rules{}, browserGet(), typicalAnswer()))
}
