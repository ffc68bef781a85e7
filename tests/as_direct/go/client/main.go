// Command client makes the calls that it reads as lines of JSON (wire.Case), and writes the wire.Outcome of each.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"asdirect/wire"
)

var connections = map[string]*grpc.ClientConn{}

func connection(target string) *grpc.ClientConn {
	if known := connections[target]; known != nil {
		return known
	}
	made, err := grpc.NewClient(target,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(wire.Codec{}), grpc.MaxCallRecvMsgSize(math.MaxInt32)))
	if err != nil {
		panic(err)
	}
	connections[target] = made
	return made
}

func main() {
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := json.NewEncoder(os.Stdout)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return
		}
		var asked wire.Case
		if err := json.Unmarshal(line, &asked); err != nil {
			panic(err)
		}
		if err := out.Encode(call(asked)); err != nil {
			panic(err)
		}
	}
}

func call(asked wire.Case) wire.Outcome {
	ctx, cancel := context.WithCancel(metadata.NewOutgoingContext(context.Background(), wire.MD(asked.Metadata)))
	defer cancel()
	if asked.Timeout > 0 {
		ctx, cancel = context.WithTimeout(ctx, time.Duration(asked.Timeout))
		defer cancel()
	}
	outcome := wire.Outcome{Messages: [][]byte{}}
	kind := &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}
	stream, err := connection(asked.Target).NewStream(ctx, kind, asked.Method)
	if err == nil {
		err = talk(stream, asked, &outcome, cancel)
		header, _ := stream.Header()
		outcome.Header, outcome.Trailer = wire.Pairs(header), wire.Pairs(stream.Trailer())
	}
	ended := status.Convert(err)
	outcome.Code, outcome.Details, outcome.Rich = int(ended.Code()), ended.Message(), len(ended.Details())
	return outcome
}

func talk(stream grpc.ClientStream, asked wire.Case, outcome *wire.Outcome, cancel func()) error {
	if asked.HeaderFirst {
		if _, err := stream.Header(); err != nil {
			return err
		}
	}
	read := func() error {
		var body []byte
		err := stream.RecvMsg(&body)
		if err == nil {
			outcome.Messages = append(outcome.Messages, body)
			if asked.CancelAfter == len(outcome.Messages) {
				cancel()
			}
		}
		return err
	}
	for _, body := range asked.Messages {
		if err := stream.SendMsg(&body); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if asked.PingPong {
			if err := read(); err != nil {
				return unless(err)
			}
		}
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	for {
		if err := read(); err != nil {
			return unless(err)
		}
	}
}

func unless(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
