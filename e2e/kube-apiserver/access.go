package main

import (
	"bufio"
	"context"
	"os"
	"strings"

	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/group"
	"k8s.io/apiserver/pkg/authentication/request/bearertoken"
	"k8s.io/apiserver/pkg/authentication/token/tokenfile"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

// authentication knows users by the tokens of a file. It reads the file for each request, so that a test can
// revoke a token. Who brings none is answered with 401.
func authentication(file string) authenticator.Request {
	tokens := authenticator.TokenFunc(func(ctx context.Context, token string) (*authenticator.Response, bool, error) {
		known, err := tokenfile.NewCSV(file)
		if err != nil {
			return nil, false, err
		}
		return known.AuthenticateToken(ctx, token)
	})
	return group.NewAuthenticatedGroupAdder(bearertoken.New(tokens))
}

// authorization allows all to administrators, discovery to everybody and besides that what a line
// `user,namespace,resource` of a file says. It reads the file for each request. A `*` stands for all namespaces
// (and for what is in none), or for all resources.
func authorization(file string) authorizer.Authorizer {
	return authorizer.AuthorizerFunc(func(_ context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
		for _, name := range a.GetUser().GetGroups() {
			if name == user.SystemPrivilegedGroup {
				return authorizer.DecisionAllow, "", nil
			}
		}
		if !a.IsResourceRequest() {
			if a.IsReadOnly() && !strings.HasPrefix(a.GetPath(), testingPath) {
				return authorizer.DecisionAllow, "", nil
			}
			return authorizer.DecisionNoOpinion, "", nil
		}
		allowed, err := isAllowed(file, a)
		if allowed {
			return authorizer.DecisionAllow, "", nil
		}
		return authorizer.DecisionNoOpinion, "", err
	})
}

func isAllowed(file string, a authorizer.Attributes) (bool, error) {
	lines, err := os.Open(file)
	if err != nil {
		return false, err
	}
	defer lines.Close()
	scanner := bufio.NewScanner(lines)
	for scanner.Scan() {
		fields := strings.Split(strings.TrimSpace(scanner.Text()), ",")
		if len(fields) == 3 && fields[0] == a.GetUser().GetName() &&
			(fields[1] == "*" || fields[1] == a.GetNamespace() && fields[1] != "") &&
			(fields[2] == "*" || fields[2] == a.GetResource()) {
			return true, nil
		}
	}
	return false, scanner.Err()
}
