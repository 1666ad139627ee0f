// Calls a target by grpc-go again and again, and says who answered and what failed.
//
//	GRPC_XDS_BOOTSTRAP=grpc.json go run . xds:///greeter.mesh.internal 30s
//
// The servers are those of registry-testkit: /test.Echo/Echo answers with an id and a line break.
package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	_ "google.golang.org/grpc/xds"
)

// raw passes bytes through, as the messages have no schema.
type raw struct{}

func (raw) Marshal(message any) ([]byte, error) { return *message.(*[]byte), nil }

func (raw) Unmarshal(data []byte, message any) error {
	*message.(*[]byte) = append([]byte(nil), data...)
	return nil
}

func (raw) Name() string { return "proto" }

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: go run . TARGET DURATION")
		os.Exit(2)
	}
	length, err := time.ParseDuration(os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	channel, err := grpc.NewClient(os.Args[1],
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(raw{})))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	servers, failures := map[string]int{}, map[string]int{}
	begin := time.Now()
	for first := true; first || time.Since(begin) < length; first = false {
		request, answer := []byte("hello"), []byte(nil)
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		err := channel.Invoke(ctx, "/test.Echo/Echo", &request, &answer)
		cancel()
		if first {
			fmt.Printf("first call: %.3f s\n", time.Since(begin).Seconds())
		}
		if err != nil {
			said := status.Convert(err)
			failures[fmt.Sprintf("%s: %s", said.Code(), said.Message())]++
		} else {
			server, _, _ := bytes.Cut(answer, []byte("\n"))
			servers[string(server)]++
		}
		time.Sleep(time.Millisecond)
	}
	fmt.Printf("answered: %v\nfailed: %v\n", servers, failures)
	if len(failures) > 0 {
		os.Exit(1)
	}
}
