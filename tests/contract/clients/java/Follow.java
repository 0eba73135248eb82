import com.ctrip.framework.apollo.Config;
import com.ctrip.framework.apollo.ConfigFile;
import com.ctrip.framework.apollo.ConfigService;
import com.ctrip.framework.apollo.core.enums.ConfigFileFormat;
import com.google.gson.Gson;
import java.util.Map;
import java.util.TreeMap;

/** Prints what the official Java client sees of each namespace, at first and after each change. */
public class Follow {
  public static void main(String[] arguments) throws InterruptedException {
    set("app.id", "APP_ID");
    set("apollo.meta", "SERVER");
    set("apollo.cluster", "CLUSTER");
    set("apollo.cache-dir", "CACHE_DIR");
    set("apollo.access-key.secret", "SECRET");
    System.setProperty("env", "DEV");
    System.setProperty("apollo.longPollingInitialDelayInMills", "0");
    for (String namespace : System.getenv("NAMESPACES").split(",")) {
      int dot = namespace.lastIndexOf('.');
      if (dot < 0) {
        followProperties(namespace);
      } else {
        followFile(namespace, namespace.substring(0, dot), namespace.substring(dot + 1));
      }
    }
    Thread.currentThread().join();
  }

  private static void set(String property, String variable) {
    String value = System.getenv(variable);
    if (value != null && !value.isEmpty()) {
      System.setProperty(property, value);
    }
  }

  private static void followProperties(String namespace) {
    Config config = ConfigService.getConfig(namespace);
    print(namespace, values(config));
    config.addChangeListener(change -> print(namespace, values(config)));
  }

  private static Map<String, String> values(Config config) {
    Map<String, String> values = new TreeMap<>();
    for (String key : config.getPropertyNames()) {
      values.put(key, config.getProperty(key, ""));
    }
    return values;
  }

  private static void followFile(String namespace, String name, String format) {
    ConfigFile file = ConfigService.getConfigFile(name, ConfigFileFormat.fromString(format));
    print(namespace, content(file.getContent()));
    file.addChangeListener(change -> print(namespace, content(change.getNewValue())));
  }

  private static Map<String, String> content(String text) {
    return text == null ? Map.of() : Map.of("content", text);
  }

  private static synchronized void print(String namespace, Map<String, String> values) {
    System.out.println(new Gson().toJson(Map.of("namespace", namespace, "values", values)));
  }
}
