// Command server answers any method as the call's metadata "answer" says (wire.Answer), and writes what it saw of each
// call as a line of JSON (wire.Seen). The first line is its port.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"asdirect/wire"
)

var (
	out  = json.NewEncoder(os.Stdout)
	lock sync.Mutex
)

func tell(value any) {
	lock.Lock()
	defer lock.Unlock()
	if err := out.Encode(value); err != nil {
		panic(err)
	}
}

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	tell(listener.Addr().(*net.TCPAddr).Port)
	server := grpc.NewServer(grpc.ForceServerCodecV2(wire.Codec{}), grpc.UnknownServiceHandler(serve),
		grpc.MaxRecvMsgSize(math.MaxInt32))
	panic(server.Serve(listener))
}

func serve(_ any, stream grpc.ServerStream) error {
	md, _ := metadata.FromIncomingContext(stream.Context())
	method, _ := grpc.MethodFromServerStream(stream)
	seen := wire.Seen{Method: method, Authority: md.Get(":authority"), Metadata: wire.Pairs(md), Messages: [][]byte{}}
	if deadline, ok := stream.Context().Deadline(); ok {
		left := time.Until(deadline).Seconds()
		seen.Remaining = &left
	}
	answer := wire.Answer{Echo: true}
	if given := md.Get("answer"); len(given) > 0 {
		answer = wire.Answer{}
		if err := json.Unmarshal([]byte(given[0]), &answer); err != nil {
			return err
		}
	}
	err := respond(stream, answer, &seen)
	seen.Cancelled = stream.Context().Err() != nil
	tell(seen)
	return err
}

func respond(stream grpc.ServerStream, answer wire.Answer, seen *wire.Seen) error {
	if err := stream.SetHeader(wire.MD(answer.Header)); err != nil {
		return err
	}
	stream.SetTrailer(wire.MD(answer.Trailer))
	if answer.HeaderFirst {
		if err := stream.SendHeader(nil); err != nil {
			return err
		}
	}
	for {
		var body []byte
		err := stream.RecvMsg(&body)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		seen.Messages = append(seen.Messages, body)
		if answer.Echo {
			if err := stream.SendMsg(&body); err != nil {
				return err
			}
		}
		if answer.Early {
			break
		}
	}
	for _, body := range answer.Messages {
		if err := stream.SendMsg(&body); err != nil {
			return err
		}
	}
	if answer.Code == 0 {
		return nil
	}
	ended := status.New(codes.Code(answer.Code), answer.Details)
	if answer.Rich != "" {
		var err error
		if ended, err = ended.WithDetails(wrapperspb.String(answer.Rich)); err != nil {
			return fmt.Errorf("rich: %w", err)
		}
	}
	return ended.Err()
}
