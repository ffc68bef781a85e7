// Package wire holds what the client and the server of the "as direct" tests agree on: messages are raw bytes, and a
// call tells the server in its metadata how to answer.
package wire

import (
	"fmt"
	"sort"

	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
)

// Answer says what the server must do; a call carries it as JSON in its metadata "answer".
type Answer struct {
	Code    int         `json:"code"`
	Details string      `json:"details"`
	Rich    string      `json:"rich"`
	Header  [][2]string `json:"header"`
	Trailer [][2]string `json:"trailer"`
	// Messages are sent once the caller has half-closed the call; with Echo, each message of the caller is sent back at once.
	Messages [][]byte `json:"messages"`
	Echo     bool     `json:"echo"`
	// HeaderFirst sends the header before anything is read.
	HeaderFirst bool `json:"header_first"`
	// Early ends the call once the first message has been read.
	Early bool `json:"early"`
}

// Seen is what the server saw of a call.
type Seen struct {
	Method    string      `json:"method"`
	Authority []string    `json:"authority"`
	Metadata  [][2]string `json:"metadata"`
	Remaining *float64    `json:"remaining"`
	Messages  [][]byte    `json:"messages"`
	Cancelled bool        `json:"cancelled"`
}

// Case is one call, a line of JSON on the client's standard input.
type Case struct {
	Target   string      `json:"target"`
	Method   string      `json:"method"`
	Metadata [][2]string `json:"metadata"`
	Messages [][]byte    `json:"messages"`
	// Timeout is in nanoseconds; 0 means none.
	Timeout int64 `json:"timeout"`
	// PingPong reads an answer after each message; HeaderFirst waits for the header before the first one.
	PingPong    bool `json:"ping_pong"`
	HeaderFirst bool `json:"header_first"`
	// CancelAfter is the number of answers after which the call is cancelled; 0 means never.
	CancelAfter int `json:"cancel_after"`
}

// Outcome is what the client saw of a call, a line of JSON on its standard output.
type Outcome struct {
	Code     int         `json:"code"`
	Details  string      `json:"details"`
	Rich     int         `json:"rich"`
	Header   [][2]string `json:"header"`
	Trailer  [][2]string `json:"trailer"`
	Messages [][]byte    `json:"messages"`
}

// Codec passes bytes as they are.
type Codec struct{}

func (Codec) Marshal(value any) (mem.BufferSlice, error) {
	body, ok := value.(*[]byte)
	if !ok {
		return nil, fmt.Errorf("no bytes: %T", value)
	}
	return mem.BufferSlice{mem.SliceBuffer(*body)}, nil
}

func (Codec) Unmarshal(data mem.BufferSlice, value any) error {
	*value.(*[]byte) = data.Materialize()
	return nil
}

func (Codec) Name() string { return "proto" }

// Pairs returns metadata sorted by key, with the values of each key in their order and in hex, without what libraries add.
func Pairs(md metadata.MD) [][2]string {
	pairs := [][2]string{}
	for key, values := range md {
		switch key {
		case ":authority", "content-type", "user-agent", "date", "grpc-accept-encoding", "answer", "x-cache":
			continue
		}
		for _, value := range values {
			pairs = append(pairs, [2]string{key, fmt.Sprintf("%x", value)})
		}
	}
	sort.SliceStable(pairs, func(i, j int) bool { return pairs[i][0] < pairs[j][0] })
	return pairs
}

// MD is the inverse of Pairs.
func MD(pairs [][2]string) metadata.MD {
	md := metadata.MD{}
	for _, pair := range pairs {
		var value []byte
		if _, err := fmt.Sscanf(pair[1], "%x", &value); err == nil || pair[1] == "" {
			md.Append(pair[0], string(value))
		}
	}
	return md
}
