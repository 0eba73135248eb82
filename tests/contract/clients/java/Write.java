import com.ctrip.framework.apollo.openapi.client.ApolloOpenApiClient;
import com.ctrip.framework.apollo.openapi.client.exception.ApolloOpenApiException;
import com.ctrip.framework.apollo.openapi.dto.NamespaceReleaseDTO;
import com.ctrip.framework.apollo.openapi.dto.OpenAppDTO;
import com.ctrip.framework.apollo.openapi.dto.OpenAppNamespaceDTO;
import com.ctrip.framework.apollo.openapi.dto.OpenClusterDTO;
import com.ctrip.framework.apollo.openapi.dto.OpenCreateAppDTO;
import com.ctrip.framework.apollo.openapi.dto.OpenItemDTO;
import com.ctrip.framework.apollo.openapi.dto.OpenReleaseDTO;
import com.google.gson.Gson;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** Makes every call of the official Open API SDK once; prints the answer of each by its name. */
public class Write {
  private static final String ENV = "DEV";
  private static final String CLUSTER = "blue";
  private static final String NAMESPACE = "application";
  private static final String USER = "apollo";

  private final ApolloOpenApiClient client;
  private final String app;

  private Write(String server, String token, String app) {
    this.client = ApolloOpenApiClient.newBuilder().withPortalUrl(server).withToken(token).build();
    this.app = app;
  }

  public static void main(String[] arguments) {
    new Write(System.getenv("SERVER"), System.getenv("TOKEN"), System.getenv("APP_ID")).run();
  }

  private void run() {
    makeApp();
    writeItems();
    publish();
    print("updateItem of a missing key",
        status(() -> client.updateItem(app, ENV, CLUSTER, NAMESPACE, item("gone", "1"))));
    ApolloOpenApiClient stranger =
        ApolloOpenApiClient.newBuilder().withPortalUrl(client.getPortalUrl()).withToken("x").build();
    print("getAllApps with another token", status(stranger::getAllApps));
  }

  /** Returns the status with which a call is refused, 200 if it is not. */
  private static int status(Runnable call) {
    try {
      call.run();
      return 200;
    } catch (RuntimeException failure) {
      return ((ApolloOpenApiException) failure.getCause()).getStatus();
    }
  }

  private void makeApp() {
    OpenAppDTO details = new OpenAppDTO();
    details.setAppId(app);
    details.setName("An app");
    details.setOrgId("org");
    details.setOrgName("Organisation");
    details.setOwnerName(USER);
    details.setOwnerEmail("apollo@example.com");
    OpenCreateAppDTO creation = new OpenCreateAppDTO();
    creation.setApp(details);
    creation.setAdmins(Set.of(USER));
    creation.setAssignAppRoleToSelf(true);
    client.createApp(creation);
    print("getAppsByIds", client.getAppsByIds(List.of(app)));
    print("getAllApps", client.getAllApps());
    print("getAuthorizedApps", client.getAuthorizedApps());

    OpenClusterDTO cluster = new OpenClusterDTO();
    cluster.setAppId(app);
    cluster.setName(CLUSTER);
    cluster.setDataChangeCreatedBy(USER);
    print("createCluster", client.createCluster(ENV, cluster));
    print("getCluster", client.getCluster(app, ENV, CLUSTER));
    print("getEnvClusterInfo", client.getEnvClusterInfo(app));

    OpenAppNamespaceDTO namespace = new OpenAppNamespaceDTO();
    namespace.setAppId(app);
    namespace.setName("routes");
    namespace.setFormat("json");
    namespace.setDataChangeCreatedBy(USER);
    print("createAppNamespace", client.createAppNamespace(namespace));
  }

  private void writeItems() {
    print("createItem", client.createItem(app, ENV, CLUSTER, NAMESPACE, item("a", "1")));
    client.createOrUpdateItem(app, ENV, CLUSTER, NAMESPACE, item("a/b \\ =&<>é", "2"));
    client.updateItem(app, ENV, CLUSTER, NAMESPACE, item("a", "3"));
    client.createOrUpdateItem(app, ENV, CLUSTER, NAMESPACE, item("gone", "4"));
    client.removeItem(app, ENV, CLUSTER, NAMESPACE, "gone", USER);
    print("getItem", client.getItem(app, ENV, CLUSTER, NAMESPACE, "a/b \\ =&<>é"));
    print("getItem of a missing key", client.getItem(app, ENV, CLUSTER, NAMESPACE, "gone"));
    print("findItemsByNamespace",
        client.findItemsByNamespace(app, ENV, CLUSTER, NAMESPACE, 0, 1));
    print("getNamespaces", client.getNamespaces(app, ENV, CLUSTER));
    print("getNamespace", client.getNamespace(app, ENV, CLUSTER, NAMESPACE, true));
    print("getNamespace without items", client.getNamespace(app, ENV, CLUSTER, NAMESPACE, false));
    print("getNamespaceLock", client.getNamespaceLock(app, ENV, CLUSTER, NAMESPACE));
  }

  private void publish() {
    print("getLatestActiveRelease before",
        client.getLatestActiveRelease(app, ENV, CLUSTER, NAMESPACE));
    NamespaceReleaseDTO release = new NamespaceReleaseDTO();
    release.setReleaseTitle("first");
    release.setReleaseComment("<a comment> & more");
    release.setReleasedBy(USER);
    print("publishNamespace", client.publishNamespace(app, ENV, CLUSTER, NAMESPACE, release));
    client.updateItem(app, ENV, CLUSTER, NAMESPACE, item("a", "5"));
    release.setReleaseTitle("second");
    OpenReleaseDTO second = client.publishNamespace(app, ENV, CLUSTER, NAMESPACE, release);
    client.rollbackRelease(ENV, second.getId(), USER);
    print("getLatestActiveRelease", client.getLatestActiveRelease(app, ENV, CLUSTER, NAMESPACE));
  }

  private static OpenItemDTO item(String key, String value) {
    OpenItemDTO item = new OpenItemDTO();
    item.setKey(key);
    item.setValue(value);
    item.setComment("of " + key);
    item.setDataChangeCreatedBy(USER);
    item.setDataChangeLastModifiedBy(USER);
    return item;
  }

  private static void print(String call, Object answer) {
    Map<String, Object> line = new LinkedHashMap<>();
    line.put("call", call);
    line.put("answer", answer);
    System.out.println(new Gson().toJson(line));
  }
}
